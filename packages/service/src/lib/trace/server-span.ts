import type { IncomingHttpHeaders } from 'node:http'
import { epochMs } from './clock.ts'
import { exceptionAttributes, errorType, RecordedSpan, spanKind, spanStatus } from './span.ts'
import { ownScope, unnamed } from './tracer.ts'
import type { SpanTracer } from './tracer.ts'
import type { CommonAttributes } from './span.ts'
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
  /** The code of a gRPC call. */
  readonly grpcStatus?: number | undefined
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'CONNECT', 'TRACE', 'QUERY'])

/**
 * Records the span of a request that is over, by the stable HTTP conventions of OpenTelemetry (semantic conventions, "HTTP
 * server"). To be called when it ends: the end is now.
 */
export function recordServed(tracer: SpanTracer, served: ServedSpanSource): void {
  // In that order: the trace is read from the headers when it is first asked for.
  if (tracer.sink === undefined || !served.trace.isSampled) return
  const endMs = epochMs()
  const asked = served.span instanceof RecordedSpan ? served.span : undefined
  const span = asked ?? open(tracer, served, endMs)
  if (asked) describeAsked(span, served)
  else describe(span, served)
  const { error } = served
  if (error !== undefined) span.addEvent('exception', exceptionAttributes(error))
  // A caller's mistake is not a failure of the server's span.
  if (isFailure(served)) span.setStatus({ code: spanStatus.error })
  span.end(endMs)
}

function open(tracer: SpanTracer, served: ServedSpanSource, endMs: number): RecordedSpan {
  const { trace, durationMs } = served
  const isParentRemote = trace.parentSpanId !== undefined
  return tracer.open(nameOf(served), spanKind.server, trace, endMs - durationMs, ownScope, isParentRemote)
}

/** A span that nobody has touched has no attributes yet. */
function describe(span: RecordedSpan, served: ServedSpanSource): void {
  span.common = commonOf(served)
  addOwn(served, (key, value) => span.append(key, value))
}

/** Of one that somebody has asked for. What the service has said of its request counts more than what we say. */
function describeAsked(span: RecordedSpan, served: ServedSpanSource): void {
  if (span.name === unnamed) span.name = nameOf(served)
  const given = new Set(span.attributes.filter((_, index) => index % 2 === 0))
  const add: Add = (key, value) => {
    if (!given.has(key)) span.setAttribute(key, value)
  }
  addCommon(served, authorityOf(served), add)
  addOwn(served, add)
}

/** Name and attributes of a server span, for a tracer that is not ours. */
export function describeServed(served: ServedSpanSource): {
  readonly name: string
  readonly attributes: Record<string, string | number>
  readonly isFailure: boolean
} {
  const attributes: Record<string, string | number> = {}
  const add: Add = (key, value) => {
    attributes[key] = value
  }
  addCommon(served, authorityOf(served), add)
  addOwn(served, add)
  return { name: nameOf(served), attributes, isFailure: isFailure(served) }
}

function isFailure({ status, grpcStatus }: ServedSpanSource): boolean {
  return status >= 500 || isGrpcFailure(grpcStatus)
}

type Add = (key: string, value: string | number) => void

function nameOf({ method, route }: ServedSpanSource): string {
  const verb = methods.has(method) ? method : 'HTTP'
  return hasRoute(route) ? `${verb} ${route}` : verb
}

function hasRoute(route: string): boolean {
  return route !== 'unmatched' && route !== ''
}

interface KnownCommon {
  readonly method: string
  readonly status: number
  readonly scheme: string | undefined
  readonly protocolVersion: string | undefined
  readonly authority: string
  readonly common: CommonAttributes
}

/** By route. No key is put together for a request: that would be a text per span. */
const commons = new Map<string, KnownCommon[]>()
const maxRoutes = 1000
const maxPerRoute = 32

/** The attributes of all requests that are alike in them. */
function commonOf(served: ServedSpanSource): CommonAttributes {
  const authority = authorityOf(served)
  const { method, status, route, scheme, protocolVersion } = served
  const alike = commons.get(route)
  for (const known of alike ?? []) {
    if (
      known.status === status &&
      known.method === method &&
      known.authority === authority &&
      known.scheme === scheme &&
      known.protocolVersion === protocolVersion
    )
      return known.common
  }
  const list: unknown[] = []
  addCommon(served, authority, (name, value) => list.push(name, value))
  const common = { list }
  // Anybody can send any Host.
  if (authority.length + method.length > 300) return common
  const known = { method, status, scheme, protocolVersion, authority, common }
  if (alike === undefined) {
    if (commons.size < maxRoutes) commons.set(route, [known])
  } else if (alike.length < maxPerRoute) alike.push(known)
  return common
}

function authorityOf({ headers }: ServedSpanSource): string {
  const authority = headers?.[':authority'] ?? headers?.host
  return typeof authority === 'string' ? authority : ''
}

function addCommon(served: ServedSpanSource, authority: string, add: Add): void {
  const { method, route, status, scheme, protocolVersion } = served
  const isKnown = methods.has(method)
  add('http.request.method', isKnown ? method : '_OTHER')
  if (!isKnown) add('http.request.method_original', method)
  if (hasRoute(route)) add('http.route', route)
  add('http.response.status_code', status)
  add('url.scheme', scheme ?? 'http')
  if (authority !== '') addAuthority(authority, add)
  if (protocolVersion !== undefined) add('network.protocol.version', protocolVersion === '2.0' ? '2' : protocolVersion)
}

function addAuthority(authority: string, add: Add): void {
  const colon = authority.lastIndexOf(':')
  const hasPort = colon !== -1 && !authority.endsWith(']')
  const port = hasPort ? Number(authority.slice(colon + 1)) : Number.NaN
  add('server.address', hasPort ? authority.slice(0, colon) : authority)
  if (port > 0) add('server.port', port)
}

/** What tells this request from others. */
function addOwn(served: ServedSpanSource, add: Add): void {
  const { headers, path, remoteAddress, status, error, grpcStatus } = served
  add('url.path', path)
  const forwarded = headers?.['x-forwarded-for']
  const client = typeof forwarded === 'string' ? firstOf(forwarded) : remoteAddress
  if (client !== undefined && client !== '') add('client.address', client)
  const agent = headers?.['user-agent']
  if (agent !== undefined && agent !== '') add('user_agent.original', agent)
  if (error !== undefined) add('error.type', errorType(error))
  else if (status >= 500) add('error.type', String(status))
  if (grpcStatus === undefined) return
  add('rpc.system.name', 'grpc')
  add('rpc.response.status_code', grpcCodes[grpcStatus] ?? String(grpcStatus))
}

const grpcCodes = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
]

/** The codes that are the server's failure (semantic conventions, "gRPC", server spans). */
function isGrpcFailure(code: number | undefined): boolean {
  return code === 2 || code === 4 || code === 12 || code === 13 || code === 14 || code === 15
}

function firstOf(list: string): string {
  const comma = list.indexOf(',')
  return (comma === -1 ? list : list.slice(0, comma)).trim()
}
