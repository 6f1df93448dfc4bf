import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** Why a request may not look inside, or undefined when it may. */
export type Refusal = { readonly status: 401 | 403; readonly detail: string }

/** What decides: a table of tests needs no sockets. */
export interface Caller {
  readonly peer: string | undefined
  readonly headers: IncomingMessage['headers']
}

/**
 * Who may debug: whoever has the token, and processes of the same machine or pod. A page open in a developer's browser
 * is such a process too, so whatever a browser sends for another site is refused, and so is a Host that is not
 * this machine (DNS rebinding). Requests that came through a proxy are not local, however near the proxy is.
 */
export function refuse({ peer, headers }: Caller, token: string | undefined): Refusal | undefined {
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none')
    return { status: 403, detail: 'Requests that a browser makes for another site are refused' }
  if (headers.origin !== undefined && headers.origin !== `http://${headers.host}`)
    return { status: 403, detail: 'Requests of another origin are refused' }
  if (token !== undefined && hasToken(headers.authorization, token)) return undefined
  if (headers.authorization !== undefined) return { status: 401, detail: 'The token is not the right one' }
  const isLocal = isLoopback(peer) && !cameThroughProxy(headers)
  if (isLocal && isLocalHost(headers.host)) return undefined
  if (isLocal) return { status: 403, detail: 'Call this by a loopback address: the Host header names another machine' }
  return token === undefined
    ? { status: 403, detail: 'Only for callers on the same machine (kubectl port-forward), unless DEBUG_TOKEN is set' }
    : { status: 401, detail: 'Send the token: "Authorization: Bearer ..."' }
}

function hasToken(authorization: string | undefined, token: string): boolean {
  const given = /^Bearer +(\S{1,4096})$/i.exec(authorization ?? '')?.[1]
  // Digests have one length, so comparing them takes one time.
  return given !== undefined && timingSafeEqual(digest(given), digest(token))
}

function digest(text: string): Uint8Array {
  return createHash('sha256').update(text).digest()
}

function isLoopback(peer: string | undefined): boolean {
  const address = peer?.replace(/^::ffff:/i, '') ?? ''
  // 127.0.0.6 is where Istio's sidecar makes connections of the whole mesh come from.
  return address === '::1' || (/^127\.\d+\.\d+\.\d+$/.test(address) && address !== '127.0.0.6')
}

function cameThroughProxy(headers: Caller['headers']): boolean {
  return Object.keys(headers).some(
    (name) => name === 'forwarded' || name === 'via' || name.startsWith('x-forwarded-') || name.startsWith('x-envoy-'),
  )
}

function isLocalHost(host: string | undefined): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/i.test(host ?? '')
}
