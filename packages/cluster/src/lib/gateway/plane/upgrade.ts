import { request as sendRequest } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream'
import { nextCandidate } from './clusters.ts'
import { forwardedHeaders, returnedHeaders } from './headers.ts'
import { IncomingFacts } from './incoming.ts'
import { changeHeaders, changePath } from './rewrite.ts'
import type { ListenerState, PlaneContext } from './route-state.ts'
import type { HeaderMap } from './upstream.ts'

/** Passes on a request to change the protocol (WebSocket), then the bytes of both sides until either ends. */
export function upgrade(
  context: PlaneContext,
  listener: ListenerState,
  incoming: IncomingMessage,
  client: Duplex,
  head: Buffer,
): void {
  const startedAt = performance.now()
  client.on('error', () => {})
  const facts = new IncomingFacts(incoming, listener.scheme)
  const found = listener.find(facts)
  const action = found?.rule.action
  if (found === undefined || action?.kind !== 'forward') return refuse(client, found === undefined ? 404 : 400)
  const { rule, match } = found
  const index = listener.chooseTarget(rule)
  const target = index === undefined ? undefined : action.targets[index]
  const live = target?.cluster === undefined ? undefined : listener.cluster(target.cluster)
  const candidate =
    live === undefined ? undefined : nextCandidate(live, { hash: undefined, tried: undefined, random: context.random })
  if (live === undefined || candidate === undefined) return refuse(client, live === undefined ? 500 : 503)

  const headers = forwardedHeaders(incoming, facts, listener)
  changeHeaders(headers, rule.requestHeaders)
  changeHeaders(headers, target?.requestHeaders)
  if (rule.rewrite?.host !== undefined) headers['host'] = rule.rewrite.host
  Object.assign(headers, { connection: 'Upgrade', upgrade: incoming.headers.upgrade ?? '' })
  const path = rule.rewrite?.path === undefined ? facts.path : changePath(facts.path, rule.rewrite.path, match)
  const { ip, port } = candidate.endpoint
  const sent = sendRequest({
    host: ip,
    port,
    method: facts.method,
    path: facts.query === '' ? path : `${path}?${facts.query}`,
    headers,
    agent: false,
    timeout: live.cluster.policy.connectTimeoutMs,
  })
  const count = (status: number): void =>
    context.metrics.count({
      route: rule.route,
      cluster: live.cluster,
      endpoint: candidate.endpoint,
      isGrpc: false,
      status,
      durationMs: performance.now() - startedAt,
    })
  sent.once('timeout', () => sent.destroy(new Error('the endpoint did not answer in time')))
  client.once('close', () => sent.destroy())
  sent.once('error', () => {
    if (client.destroyed) return
    count(502)
    refuse(client, 502)
  })
  sent.once('upgrade', (answered, server, rest) => {
    sent.removeAllListeners('timeout')
    if (!client.destroyed) count(101)
    server.setTimeout(0)
    server.setNoDelay(true)
    const own: HeaderMap = returnedHeaders({ ...answered.headers } as HeaderMap)
    changeHeaders(own, rule.responseHeaders)
    client.write(
      renderHead(101, 'Switching Protocols', {
        ...own,
        connection: 'Upgrade',
        upgrade: answered.headers.upgrade ?? '',
      }),
    )
    if (rest.length > 0) client.write(rest)
    if (head.length > 0) server.write(head)
    pipeline(client, server, () => {})
    pipeline(server, client, () => {})
  })
  sent.once('response', (answered) => {
    count(answered.statusCode ?? 502)
    const own = returnedHeaders({ ...answered.headers } as HeaderMap)
    // Its length may have been told by the end of chunks that are taken apart here.
    client.write(renderHead(answered.statusCode ?? 502, answered.statusMessage ?? '', { ...own, connection: 'close' }))
    pipeline(answered, client, () => {})
  })
  sent.end()
}

const reasons: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  404: 'Not Found',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
}

function refuse(client: Duplex, status: number): void {
  if (client.destroyed) return
  client.end(renderHead(status, reasons[status] ?? '', { connection: 'close', 'content-length': '0' }))
}

function renderHead(status: number, reason: string, headers: HeaderMap): string {
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) => `${name}: ${one}`),
  )
  return `HTTP/1.1 ${status} ${reason}\r\n${lines.join('\r\n')}\r\n\r\n`
}
