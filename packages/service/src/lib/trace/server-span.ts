import type { IncomingHttpHeaders } from 'node:http'
import { epochMs } from './clock.ts'
import { exceptionAttributes, errorType, RecordedSpan, spanKind, spanStatus } from './span.ts'
import { ownScope } from './tracer.ts'
import type { SpanTracer } from './tracer.ts'
import type { TraceContext } from './traceparent.ts'

/** What a server span is made of: a `ServedRequest` of the http part. */
export interface ServedSpanSource {
  readonly method: string
  /** The template, `unmatched` without one. */
  readonly route: string
  readonly path: string
  /** 499 when the caller went away before the answer. */
  readonly status: number
  readonly durationMs: number
  readonly trace: TraceContext
  /** What the handler threw. */
  readonly error?: unknown
  readonly headers?: IncomingHttpHeaders | undefined
  /** The scope's slot: the span, if somebody has asked for it while serving. */
  readonly span?: unknown
  /** Default `http`. */
  readonly scheme?: string | undefined
  /** `1.1`, `2`. */
  readonly protocolVersion?: string | undefined
  readonly remoteAddress?: string | undefined
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'CONNECT', 'TRACE', 'QUERY'])

/**
 * Records the span of a request that is over, by the stable HTTP conventions of OpenTelemetry (semantic conventions, "HTTP
 * server"). To be called when it ends: the end is now.
 */
export function recordServed(tracer: SpanTracer, served: ServedSpanSource): void {
  const { trace, method, status, error } = served
  if (!trace.isSampled || tracer.sink === undefined) return
  const endMs = epochMs()
  const isKnown = methods.has(method)
  const hasRoute = served.route !== 'unmatched' && served.route !== ''
  const verb = isKnown ? method : 'HTTP'
  const name = hasRoute ? `${verb} ${served.route}` : verb
  const asked = served.span instanceof RecordedSpan ? served.span : undefined
  const isParentRemote = trace.parentSpanId !== undefined
  const span = asked ?? tracer.open(name, spanKind.server, trace, endMs - served.durationMs, ownScope, isParentRemote)
  // Somebody may have given it a better name.
  if (asked?.name === 'HTTP') asked.name = name

  const add = asked === undefined ? push : setOnce
  add(span, 'http.request.method', isKnown ? method : '_OTHER')
  if (!isKnown) add(span, 'http.request.method_original', method)
  if (hasRoute) add(span, 'http.route', served.route)
  add(span, 'http.response.status_code', status)
  add(span, 'url.path', served.path)
  add(span, 'url.scheme', served.scheme ?? 'http')
  if (served.protocolVersion !== undefined) add(span, 'network.protocol.version', protocolOf(served.protocolVersion))
  if (served.headers !== undefined) addHeaders(span, add, served, served.headers)
  else if (served.remoteAddress !== undefined) add(span, 'client.address', served.remoteAddress)
  if (status >= 500 || error !== undefined) addFailure(span, add, status, error)
  span.end(endMs)
}

type Add = (span: RecordedSpan, key: string, value: string | number) => void

/** A span that nobody has touched has none of these yet. */
function push(span: RecordedSpan, key: string, value: string | number): void {
  span.append(key, value)
}

/** What the service has said of a request counts more. */
function setOnce(span: RecordedSpan, key: string, value: string | number): void {
  const { attributes } = span
  for (let index = 0; index < attributes.length; index += 2) if (attributes[index] === key) return
  span.setAttribute(key, value)
}

function addHeaders(span: RecordedSpan, add: Add, served: ServedSpanSource, headers: IncomingHttpHeaders): void {
  const authority = headers[':authority'] ?? headers.host
  if (typeof authority === 'string' && authority !== '') addAuthority(span, add, authority)
  const forwarded = headers['x-forwarded-for']
  const client = typeof forwarded === 'string' ? firstOf(forwarded) : served.remoteAddress
  if (client !== undefined && client !== '') add(span, 'client.address', client)
  const agent = headers['user-agent']
  if (agent !== undefined && agent !== '') add(span, 'user_agent.original', agent)
}

function addAuthority(span: RecordedSpan, add: Add, authority: string): void {
  const colon = authority.lastIndexOf(':')
  const hasPort = colon !== -1 && authority[authority.length - 1] !== ']'
  const port = hasPort ? Number(authority.slice(colon + 1)) : Number.NaN
  add(span, 'server.address', hasPort ? authority.slice(0, colon) : authority)
  if (port > 0) add(span, 'server.port', port)
}

function addFailure(span: RecordedSpan, add: Add, status: number, error: unknown): void {
  add(span, 'error.type', error === undefined ? String(status) : errorType(error))
  if (error !== undefined) span.addEvent('exception', exceptionAttributes(error))
  // A caller's mistake is not a failure of the server's span.
  if (status >= 500) span.setStatus({ code: spanStatus.error })
}

function protocolOf(version: string): string {
  return version === '2.0' ? '2' : version
}

function firstOf(list: string): string {
  const comma = list.indexOf(',')
  return (comma === -1 ? list : list.slice(0, comma)).trim()
}
