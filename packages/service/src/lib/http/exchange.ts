import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import type { MeshSettings } from '../mesh/settings.ts'
import type { RequestScope } from '../trace/current.ts'
import { joinTrace } from '../trace/traceparent.ts'
import type { TraceContext } from '../trace/traceparent.ts'
import type { HostedApp } from './hosted.ts'
import { requestIdOf } from './request-id.ts'

/**
 * One request when it is over: what metrics, access logs and spans are made of. Members are computed when they are read, from
 * the request itself: an observer that keeps something for later copies it.
 */
export interface ServedRequest {
  readonly method: string
  /** The template, never the raw path. */
  readonly route: string
  readonly path: string
  /** 499 when the caller went away before the answer. */
  readonly status: number
  readonly durationMs: number
  /** Milliseconds since the epoch. */
  readonly startTime: number
  readonly requestId: string
  readonly trace: TraceContext
  /** Of the request, as node has them. */
  readonly headers: IncomingHttpHeaders
  readonly scheme: 'http' | 'https'
  /** `1.1`, `2.0`. */
  readonly protocolVersion: string
  /** Of the connection: a proxy's, where there is one. */
  readonly remoteAddress: string | undefined
  /** What tracing has put into the request's scope. */
  readonly span: unknown
  /** Of the body; undefined where nobody has counted: an application of another framework that streams without a length. */
  readonly responseBytes: number | undefined
  /** What the handler threw, if it was not an {@link HttpError}; the cause of one with a status of 5xx. */
  readonly error: unknown
  /** The code of a gRPC call (0 is OK), whose HTTP status is 200 whatever happened. */
  readonly grpcStatus: number | undefined
}

/** What the route of a request without one is called. */
export const unmatched = 'unmatched'

/**
 * A request and its answer, from the first byte to the last: the scope of whatever runs on its behalf, and afterwards the
 * account of it. Getters, because most requests need few of these.
 */
export class Exchange implements RequestScope, ServedRequest {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly startedAt: number = performance.now()
  route: string = unmatched
  span: unknown = undefined
  error: unknown = undefined
  grpcStatus: number | undefined = undefined
  /** Of the answer, where this package has written it. */
  bodyBytes: number | undefined = undefined
  /** Who knows the route, when it is not this package's router. */
  app: Pick<HostedApp, 'routeOf'> | undefined = undefined
  /** When `finish` was called. */
  #endedAt = 0
  #status = 0
  readonly #join: TraceReader
  #requestId: string | undefined
  #trace: TraceContext | undefined
  #abort: AbortController | undefined

  constructor(request: IncomingMessage, response: ServerResponse, join: TraceReader = joinW3C) {
    this.request = request
    this.response = response
    this.#join = join
  }

  get requestId(): string {
    return (this.#requestId ??= requestIdOf(this.request))
  }

  get trace(): TraceContext {
    return (this.#trace ??= this.#join(this.request.headers))
  }

  /** Of the service, the same for all requests. */
  get mesh(): MeshSettings | undefined {
    return undefined
  }

  get incoming(): IncomingHttpHeaders {
    return this.request.headers
  }

  get headers(): IncomingHttpHeaders {
    return this.request.headers
  }

  get method(): string {
    return this.request.method ?? 'GET'
  }

  /** Without the query, and without the origin that requests to a proxy have. */
  get path(): string {
    const url = this.request.url ?? '/'
    const end = url.indexOf('?')
    const target = end === -1 ? url : url.slice(0, end)
    return target.startsWith('/') ? target : pathOfAbsolute(target)
  }

  get queryText(): string {
    const url = this.request.url ?? '/'
    const start = url.indexOf('?')
    return start === -1 ? '' : url.slice(start + 1)
  }

  get scheme(): 'http' | 'https' {
    // An HTTP/2 request has its own; the socket behind it is gone when it is over.
    const { scheme, socket } = this.request as IncomingMessage & { readonly scheme?: 'http' | 'https' }
    return scheme ?? ('encrypted' in socket ? 'https' : 'http')
  }

  get protocolVersion(): string {
    return this.request.httpVersion
  }

  get remoteAddress(): string | undefined {
    return this.request.socket.remoteAddress
  }

  get startTime(): number {
    return performance.timeOrigin + this.startedAt
  }

  get durationMs(): number {
    return (this.#endedAt === 0 ? performance.now() : this.#endedAt) - this.startedAt
  }

  get status(): number {
    return this.#status === 0 ? this.response.statusCode : this.#status
  }

  get responseBytes(): number | undefined {
    if (this.method === 'HEAD') return 0
    if (this.bodyBytes !== undefined) return this.bodyBytes
    const length = this.response.getHeader('content-length')
    return length === undefined ? undefined : Number(length)
  }

  /** Aborts when the connection ends before the answer. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      if (this.#status === callerLeft) this.#abort.abort(callerGone())
    }
    return this.#abort.signal
  }

  /** The response is over, one way or the other. */
  finish(): void {
    const isWhole = isFinished(this.response)
    this.#endedAt = performance.now()
    this.#status = isWhole ? this.response.statusCode : callerLeft
    if (this.app !== undefined && this.route === unmatched) this.route = this.app.routeOf?.(this.request) ?? unmatched
    if (!isWhole) this.#abort?.abort(callerGone())
  }
}

/** Finds the caller's trace in the headers of a request, or begins one. */
export type TraceReader = (headers: IncomingHttpHeaders) => TraceContext

const callerLeft = 499

/** Responses over HTTP/2 are no streams of their own, and ask theirs. */
function isFinished(response: ServerResponse & { readonly stream?: Writable }): boolean {
  return response.stream === undefined ? response.writableFinished : response.stream.writableFinished
}

function callerGone(): Error {
  return new Error('The caller has gone away')
}

function joinW3C({ traceparent, tracestate }: IncomingHttpHeaders): TraceContext {
  return joinTrace(single(traceparent), single(tracestate))
}

function single(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header
}

/** `http://host/path` has the path `/path`; `*` (of OPTIONS) stays what it is. */
function pathOfAbsolute(target: string): string {
  const authority = target.indexOf('://')
  if (authority === -1) return target
  const slash = target.indexOf('/', authority + 3)
  return slash === -1 ? '/' : target.slice(slash)
}
