import type { ClientRequest, IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { pipeline as pipeTo } from 'node:stream'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createInflate } from 'node:zlib'

import type { ApiRequest, ApiResponse, Sink } from '../exchange.ts'
import { unavailable } from '../status.ts'
import { rewriteHtml, rewritePlace } from './rewrite-html.ts'
import type { ProxyTarget } from './target.ts'

// An import would bring all of fetch along: see scripts/check-imports.ts.
const { request: httpRequest } = process.getBuiltinModule('node:http')

const connectTimeoutMs = 30_000

/** Of one connection only, or what the caller proved itself by: not the business of who is behind. */
const dropped = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'authorization',
  'host',
  'content-length',
])

/** Passes a request on to `target` and its answer back, whatever the method; protocols may change as both ends agree. */
export async function serveProxy(request: ApiRequest, prefix: string, target: ProxyTarget): Promise<ApiResponse> {
  const rest = request.path.slice(prefix.length)
  const query = request.query.size === 0 ? '' : `?${request.query.toString()}`
  if (rest === '' && (request.method === 'GET' || request.method === 'HEAD')) {
    // Relative links of the page behind would lead astray without it.
    return { status: 301, headers: { location: `${encodeURI(request.path)}/${query}` }, body: { pieces: [] } }
  }
  return await forwardRequest(request, `${encodeURI(rest === '' ? '/' : rest)}${query}`, prefix, target)
}

/** The same for a `path` that is known; places in answers are shown below `prefix`. */
export async function forwardRequest(
  request: ApiRequest,
  path: string,
  prefix: string,
  target: ProxyTarget,
): Promise<ApiResponse> {
  const body = request.isUpgrade === true ? Buffer.alloc(0) : await request.readBody()
  return await answerOf(send(request, path, target), body, request, prefix)
}

function send(
  request: ApiRequest,
  path: string,
  { scheme, host, port, tls, headers: own = {} }: ProxyTarget,
): ClientRequest {
  const kept = Object.entries(request.headers).filter(
    ([name]) => !dropped.has(name) && !name.startsWith('impersonate-') && !name.startsWith('x-remote-'),
  )
  const headers = { ...Object.fromEntries(kept), ...forwarded(request), ...own }
  const options = { host, port, path, method: request.method, headers, signal: request.signal, agent: false as const }
  const sent =
    scheme === 'https' ? httpsRequest({ ...options, ...(tls ?? { rejectUnauthorized: false }) }) : httpRequest(options)
  sent.setTimeout(connectTimeoutMs, () => {
    if (sent.socket?.connecting === true) sent.destroy(new Error('connection timed out'))
  })
  return sent
}

function forwarded({ headers, isUpgrade, path }: ApiRequest): Record<string, string> {
  const change = isUpgrade === true ? { connection: 'Upgrade', upgrade: headers['upgrade'] ?? '' } : {}
  return { ...change, 'x-forwarded-host': headers['host'] ?? '', 'x-forwarded-proto': 'https', 'x-forwarded-uri': path }
}

function answerOf(sent: ClientRequest, body: Buffer, request: ApiRequest, prefix: string): Promise<ApiResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<ApiResponse>()
  sent.on('error', (error) => reject(unavailable(`error trying to reach service: ${error.message}`)))
  sent.on('response', (response) =>
    resolve({
      status: response.statusCode ?? 502,
      headers: headersOf(response, prefix),
      body: { stream: (sink) => copy(contentOf(response, request, prefix), sink, request.signal) },
    }),
  )
  sent.on('upgrade', (response: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (head.length > 0) socket.unshift(head)
    const { connection = 'Upgrade', upgrade = '' } = response.headers
    const headers = { ...headersOf(response, prefix), connection, upgrade }
    resolve({ status: response.statusCode ?? 101, headers, body: { switchTo: (client) => join(client, socket) } })
  })
  if (body.length > 0) sent.setHeader('content-length', body.length)
  sent.end(body)
  return promise
}

function headersOf({ headers }: IncomingMessage, prefix: string): Record<string, string | string[]> {
  const kept: Record<string, string | string[]> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || dropped.has(name)) continue
    // It was unpacked for its links.
    if (name === 'content-encoding' && isPage(headers)) continue
    // A place on the server behind is below the proxy's own path for the client.
    kept[name] = name === 'location' && typeof value === 'string' ? rewritePlace(value, prefix, '') : value
  }
  return kept
}

/** The bytes of the answer; a page's links lead back through the proxy. */
function contentOf(response: IncomingMessage, { method, headers }: ApiRequest, prefix: string): AsyncIterable<Buffer> {
  if (!isPage(response.headers) || method === 'HEAD') return response
  const packed = response.headers['content-encoding']
  const unpack = packed === 'gzip' ? createGunzip() : packed === 'deflate' ? createInflate() : undefined
  // Failures of the response end up in the unpacked stream.
  const text = unpack === undefined ? response : pipeTo(response, unpack, () => {})
  return rewriteHtml(text, prefix, headers['host'] ?? '')
}

function isPage(headers: IncomingMessage['headers']): boolean {
  const packed = headers['content-encoding']
  const isReadable = packed === undefined || packed === 'gzip' || packed === 'deflate'
  return isReadable && /^text\/html\s*(;|$)/i.test(headers['content-type'] ?? '')
}

async function copy(response: AsyncIterable<Buffer>, sink: Sink, signal: AbortSignal): Promise<void> {
  for await (const chunk of response) {
    if (signal.aborted) return
    sink.write(chunk)
    if (sink.waitingBytes > 0) await sink.drained()
  }
}

async function join(client: Duplex, behind: Duplex): Promise<void> {
  await Promise.allSettled([pipeline(client, behind), pipeline(behind, client)])
  client.destroy()
  behind.destroy()
}
