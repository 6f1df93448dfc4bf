import { randomUUID } from 'node:crypto'
import { isOfConnection } from '../header-names.ts'
import type { Incoming, IncomingFacts } from './incoming.ts'
import type { HeaderMap } from './upstream.ts'

/** The headers an endpoint gets: those of the request, less those of its connection, with where it came from. */
export function forwardedHeaders(
  request: Incoming,
  facts: IncomingFacts,
  listener: { isMesh: boolean; port: number },
): HeaderMap {
  const headers: HeaderMap = {}
  const named = namedByConnection(request.headers.connection)
  for (const name in request.headers) {
    const value = request.headers[name]
    if (value === undefined || isOfConnection(name) || name.startsWith(':') || named?.includes(name) === true) continue
    headers[name] = value
  }
  // gRPC asks for trailers by this.
  if (request.headers.te !== undefined && /\btrailers\b/.test(String(request.headers.te))) headers['te'] = 'trailers'
  headers['host'] = facts.authority
  headers['x-request-id'] ??= randomUUID()
  const before = headers['x-forwarded-for']
  headers['x-forwarded-for'] = before === undefined ? facts.source : `${String(before)}, ${facts.source}`
  if (listener.isMesh) headers['x-forwarded-proto'] ??= facts.scheme
  else {
    // At the edge a client has no say in these.
    headers['x-forwarded-proto'] = facts.scheme
    headers['x-forwarded-host'] = facts.authority
    headers['x-forwarded-port'] = String(listener.port)
  }
  return headers
}

/** The headers of an answer, less those of the connection to the endpoint. Changes the one it is given. */
export function returnedHeaders(headers: HeaderMap): HeaderMap {
  const named = namedByConnection(headers['connection'])
  for (const name in headers) {
    if (isOfConnection(name) || named?.includes(name) === true) delete headers[name]
  }
  return headers
}

function namedByConnection(value: string | readonly string[] | undefined): string[] | undefined {
  if (value === undefined || value === 'keep-alive' || value === 'close') return undefined
  return String(value)
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
}
