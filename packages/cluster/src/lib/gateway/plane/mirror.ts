import type { permissionAt } from './access.ts'
import type { LiveCluster } from './clusters.ts'
import { nextCandidate } from './clusters.ts'
import type { PlaneContext } from './route-state.ts'
import type { UpstreamHandler, UpstreamRequest } from './upstream.ts'

const mirrorTimeoutMs = 15_000
/** Copies under way to one cluster; further ones are dropped: what is copied must not hold up what is real. */
const mostCopies = 256

/** Sends a copy whose answer nobody waits for. Bodies that are streams are not copied. */
export function mirrorTo(
  context: PlaneContext,
  live: LiveCluster,
  request: UpstreamRequest,
  permits: ReturnType<typeof permissionAt>,
): void {
  const { body } = request
  if ((body !== null && !Buffer.isBuffer(body)) || live.load.active >= mostCopies) return
  const candidate = nextCandidate(live, { hash: undefined, tried: undefined, random: context.random, permits })
  if (candidate === undefined) return
  // Envoy marks the host of copies like this.
  const { host } = request.headers
  const headers = { ...request.headers, host: shadowHost(String(host)) }
  live.load.active++
  const end = (): void => {
    clearTimeout(timer)
    live.load.active--
  }
  const ignored: UpstreamHandler = { onSend() {}, onHead() {}, onData: () => true, onEnd: end, onError: end }
  const timer = setTimeout(() => sending.abort(new Error('the copy took too long')), mirrorTimeoutMs)
  const sending = context.clusters.connectionsTo(candidate, live.cluster).send({ ...request, headers }, ignored)
}

function shadowHost(host: string): string {
  const colon = host.lastIndexOf(':')
  return colon === -1 ? `${host}-shadow` : `${host.slice(0, colon)}-shadow${host.slice(colon)}`
}
