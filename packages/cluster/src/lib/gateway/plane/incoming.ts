import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import type { Socket } from 'node:net'
import type { TraceContext } from '@fairlead/service/trace'
import { hostOf } from '../hostname.ts'
import type { Access } from './access.ts'
import { isHttp2 } from './http2.ts'
import type { RequestFacts } from './match.ts'

/** Node gives requests of both versions of HTTP the same shape. */
export type Incoming = IncomingMessage | Http2ServerRequest
export type Outgoing = ServerResponse | Http2ServerResponse

/** What a request says of itself, the path made plain: `/public/../admin` is `/admin` to every rule and to the endpoint (RFC 3986, 6.2.2). */
export class IncomingFacts implements RequestFacts {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly authority: string
  readonly host: string
  readonly scheme: 'http' | 'https'
  readonly source: string
  /** `1.1`, `2.0`. */
  readonly version: string
  readonly headers: Incoming['headers']
  /** Where traces are followed. */
  trace: TraceContext | undefined

  constructor(request: Incoming, scheme: 'http' | 'https', access?: Access) {
    const { headers } = request
    const { authority, target } = targetOf(request)
    const mark = target.indexOf('?')
    this.method = request.method ?? 'GET'
    this.path = plainPath(mark === -1 ? target : target.slice(0, mark))
    this.query = mark === -1 ? '' : target.slice(mark + 1)
    this.authority = authority
    this.host = hostOf(authority)
    this.scheme = scheme
    this.source = sourceOf(request.socket, access)
    this.version = request.httpVersion
    this.headers = headers
  }

  header(name: string): string | undefined {
    // Routes ask for any name, also for one that every object has, such as `constructor`.
    const value = Object.hasOwn(this.headers, name) ? this.headers[name] : undefined
    return Array.isArray(value) ? value.join(', ') : value
  }
}

function targetOf(request: Incoming): { authority: string; target: string } {
  const url = request.url ?? '/'
  const named = isHttp2(request) ? request.headers[':authority'] : undefined
  const authority = named ?? request.headers.host ?? ''
  if (url.startsWith('/') || !URL.canParse(url)) return { authority, target: url.startsWith('/') ? url : '/' }
  // The absolute form, which proxies are sent (RFC 9112, 3.2.2), overrules the Host header.
  const { host, pathname, search } = new URL(url)
  return { authority: host, target: `${pathname}${search}` }
}

const mayBeCrooked = /\/\.|%2e|\\/i

function plainPath(path: string): string {
  if (!mayBeCrooked.test(path)) return path
  return URL.canParse(path, 'http://a') ? new URL(`http://a${path}`).pathname : path
}

/** The address of a client, also of one whose connection was passed on. */
export function sourceOf(
  connection: Pick<Socket, 'remoteAddress' | 'remotePort' | 'localPort'>,
  access: Access | undefined,
): string {
  const address = plainAddress(connection.remoteAddress)
  return access === undefined ? address : access.clientOf(connection, address)
}

/** IPv4 clients of a socket for both versions are told as `::ffff:10.0.0.1`. */
function plainAddress(address = ''): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address
}

/** Whether a body follows the head. */
export function hasBody(request: Incoming): boolean {
  if (isHttp2(request)) return !request.stream.endAfterHeaders
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers
  return encoding !== undefined || (length !== undefined && length !== '0')
}

export function isGrpc(facts: RequestFacts): boolean {
  return facts.header('content-type')?.startsWith('application/grpc') === true
}
