import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { HistogramSeries, Metrics } from '../metrics/metrics.ts'
import { isUninstrumented } from './clients.ts'
import { epochMs } from './clock.ts'
import { currentScope, propagationHeaders, scopeHeaders } from './current.ts'
import type { RequestScope } from './current.ts'
import { errorType, spanKind, spanStatus } from './span.ts'
import type { RecordedSpan } from './span.ts'
import { tracerOf } from './tracer.ts'
import type { Tracer } from './tracer.ts'

export interface ClientInstrumentationOptions {
  /** Where `http_client_request_duration_seconds` is kept. Default: calls are not measured. */
  readonly metrics?: Metrics | undefined
  /** Whether calls get the headers of the request they are made for (default true), unless they have a trace already. */
  readonly headers?: boolean | undefined
  /** Whose requests the calls are made for; those of another tracer's are left to its own instrumentation. Default: anybody's. */
  readonly tracer?: Tracer | undefined
}

/**
 * Makes CLIENT spans of calls by `fetch`, undici and node:http that are made within a request or a span, measures all of them, and
 * gives them the headers that make the other side part of the trace. It listens to the diagnostics channels that node
 * and undici publish to; nothing is replaced. Returns what ends it.
 */
export function instrumentClients(options: ClientInstrumentationOptions = {}): () => void {
  const observer = new CallObserver(options)
  const listeners: readonly (readonly [name: string, listener: (message: unknown) => void])[] = [
    ['undici:request:create', (message) => observer.undiciCreated((message as UndiciMessage).request)],
    ['undici:request:headers', (message) => observer.undiciAnswered(message as UndiciMessage)],
    ['undici:request:trailers', (message) => observer.end((message as UndiciMessage).request)],
    ['undici:request:error', (message) => observer.fail((message as UndiciMessage).request, message as UndiciMessage)],
    ['http.client.request.created', (message) => observer.nodeCreated((message as NodeMessage).request)],
    ['http.client.response.finish', (message) => observer.nodeAnswered(message as NodeMessage)],
    ['http.client.request.error', (message) => observer.fail((message as NodeMessage).request, message as NodeMessage)],
  ]
  for (const [name, listener] of listeners) subscribe(name, listener)
  return () => {
    for (const [name, listener] of listeners) unsubscribe(name, listener)
  }
}

/** What undici says of a request, as far as it is the same in its versions 6 to 8 (docs/api/DiagnosticsChannel.md). */
interface UndiciRequest {
  readonly method: string
  readonly origin: string | URL
  readonly path: string
  readonly headers: readonly (string | readonly string[])[] | string
  addHeader(name: string, value: string): void
}
interface UndiciMessage {
  readonly request: UndiciRequest
  readonly response?: { readonly statusCode: number }
  readonly error?: unknown
}
interface NodeMessage {
  readonly request: ClientRequest
  readonly response?: IncomingMessage
  readonly error?: unknown
}

interface Call {
  readonly startMs: number
  readonly method: string
  readonly address: string
  readonly port: number
  readonly span: RecordedSpan | undefined
  status: number
}

const labels = [
  'http_request_method',
  'server_address',
  'server_port',
  'http_response_status_code',
  'error_type',
] as const
const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'CONNECT', 'TRACE', 'QUERY'])
const noHeaders: Readonly<Record<string, string>> = {}

class CallObserver {
  /** By the request object of whoever makes it. */
  readonly #calls = new WeakMap<object, Call>()
  readonly #hasHeaders: boolean
  readonly #tracer: Tracer | undefined
  readonly #duration: ReturnType<typeof durationOf> | undefined
  readonly #series = new Map<string, HistogramSeries>()

  constructor(options: ClientInstrumentationOptions) {
    this.#hasHeaders = options.headers ?? true
    this.#tracer = options.tracer
    this.#duration = options.metrics && durationOf(options.metrics)
  }

  undiciCreated(request: UndiciRequest): void {
    if (isUninstrumented()) return
    const { host, port, protocol } = originOf(request.origin)
    const headers = this.#begin(request, request.method, protocol, host, port, request.path)
    const isOurs = hasHeader(request.headers)
    for (const name of Object.keys(headers)) {
      const value = headers[name]
      if (value !== undefined && !isOurs(name)) request.addHeader(name, value)
    }
  }

  undiciAnswered({ request, response }: UndiciMessage): void {
    const call = this.#calls.get(request)
    if (call && response) call.status = response.statusCode
  }

  nodeCreated(request: ClientRequest): void {
    if (isUninstrumented()) return
    const port = portOf(request.getHeader('host'), request.protocol)
    const headers = this.#begin(request, request.method, request.protocol, request.host, port, request.path)
    // Headers given as a list have been written out by now.
    if (request.headersSent) return
    let passedOn: Readonly<Record<string, string>> | undefined
    for (const name of Object.keys(headers)) {
      const value = headers[name]
      if (value === undefined) continue
      const present = request.getHeader(name)
      // What `propagationHeaders()` gave names the span around the call; the other side is a part of the call.
      const isReplaced =
        present !== undefined && present !== value && present === (passedOn ??= propagationHeaders())[name]
      if (present === undefined || isReplaced) request.setHeader(name, value)
    }
  }

  nodeAnswered({ request, response }: NodeMessage): void {
    const call = this.#calls.get(request)
    if (call && response) call.status = response.statusCode ?? 0
    this.end(request)
  }

  /** Returns the headers to be set. */
  #begin(
    request: object,
    method: string,
    scheme: string,
    address: string,
    port: number,
    path: string,
  ): Readonly<Record<string, string>> {
    const scope = currentScope()
    const owner = scope && tracerOf(scope.trace)
    // Of another service in this process.
    if (this.#tracer !== undefined && owner !== undefined && owner !== this.#tracer) return noHeaders
    const span = scope && openSpan(scope, method, scheme, address, port, path)
    if (span !== undefined || this.#duration !== undefined)
      this.#calls.set(request, { startMs: epochMs(), method, address, port, span, status: 0 })
    if (scope === undefined || !this.#hasHeaders) return noHeaders
    return scopeHeaders(scope, span?.trace ?? scope.trace)
  }

  end(request: object): void {
    const call = this.#take(request)
    if (call === undefined) return
    const failure = call.status >= 400 ? String(call.status) : ''
    const { span } = call
    if (span?.isRecording()) {
      if (call.status > 0) span.append('http.response.status_code', call.status)
      if (failure !== '') span.append('error.type', failure)
      if (failure !== '') span.setStatus({ code: spanStatus.error })
      span.end()
    }
    this.#observe(call, failure)
  }

  fail(request: object, { error }: { readonly error?: unknown }): void {
    const call = this.#take(request)
    if (call === undefined) return
    const failure = errorType(error)
    const { span } = call
    if (span?.isRecording()) {
      span.append('error.type', failure)
      span.recordException(error)
      span.setStatus({ code: spanStatus.error })
      span.end()
    }
    this.#observe(call, failure)
  }

  #take(request: object): Call | undefined {
    const call = this.#calls.get(request)
    this.#calls.delete(request)
    return call
  }

  #observe({ method, address, port, status, startMs, span }: Call, failure: string): void {
    if (this.#duration === undefined) return
    const verb = methods.has(method) ? method : '_OTHER'
    const key = `${verb} ${status} ${port} ${failure} ${address}`
    let series = this.#series.get(key)
    if (series === undefined) {
      series = this.#duration.labels({
        http_request_method: verb,
        server_address: address,
        server_port: port,
        http_response_status_code: status === 0 ? '' : status,
        error_type: failure,
      })
      // Who crawls the web calls any number of hosts; the metric has its own cap.
      if (this.#series.size < 1000) this.#series.set(key, series)
    }
    series.observe((epochMs() - startMs) / 1000, span?.trace)
  }
}

/** Semantic conventions, "HTTP client". */
function openSpan(
  scope: RequestScope,
  method: string,
  protocol: string,
  address: string,
  port: number,
  path: string,
): RecordedSpan | undefined {
  const tracer = tracerOf(scope.trace)
  if (tracer?.sink === undefined || !scope.trace.isSampled) return undefined
  const isKnown = methods.has(method)
  const scheme = protocol.replace(':', '')
  const span = tracer.open(isKnown ? method : 'HTTP', spanKind.client, tracer.child(scope.trace), epochMs())
  span.append('http.request.method', isKnown ? method : '_OTHER')
  if (!isKnown) span.append('http.request.method_original', method)
  span.append('server.address', address)
  span.append('server.port', port)
  span.append('url.full', `${scheme}://${address}${isDefault(scheme, port) ? '' : `:${port}`}${withoutSecrets(path)}`)
  return span
}

function isDefault(scheme: string, port: number): boolean {
  return port === (scheme === 'https' ? 443 : 80)
}

/** Values of the query may be anything; those that the conventions name as signatures are cut. */
function withoutSecrets(path: string): string {
  if (!path.includes('?')) return path
  return path.replace(
    /([?&](?:AWSAccessKeyId|Signature|sig|X-Goog-Signature|X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|token|access_token|api_key|apikey|key|password)=)[^&#]*/gi,
    '$1REDACTED',
  )
}

function durationOf(metrics: Metrics) {
  return metrics.histogram('http_client_request_duration_seconds', {
    help: 'Time of a call to another service, until its answer has been received.',
    labels,
    otel: {
      name: 'http.client.request.duration',
      unit: 's',
      attributes: {
        http_request_method: 'http.request.method',
        server_address: 'server.address',
        server_port: 'server.port',
        http_response_status_code: 'http.response.status_code',
        error_type: 'error.type',
      },
    },
  })
}

interface Origin {
  readonly host: string
  readonly port: number
  readonly protocol: string
}
const origins = new Map<string, Origin>()

/** Parsed once: a service calls few others, and a URL costs more than the rest. */
function originOf(origin: string | URL): Origin {
  const text = String(origin)
  const known = origins.get(text)
  if (known !== undefined) return known
  const url = URL.parse(text)
  const protocol = url?.protocol ?? 'http:'
  const port = Number(url?.port) || (protocol === 'https:' ? 443 : 80)
  const parsed = { host: url?.hostname ?? text, port, protocol }
  if (origins.size < 1000) origins.set(text, parsed)
  return parsed
}

/** A ClientRequest keeps its host, but not its port. */
function portOf(host: unknown, protocol: string): number {
  const port = typeof host === 'string' ? Number(/:(\d+)$/.exec(host)?.[1]) : Number.NaN
  return port || (protocol === 'https:' ? 443 : 80)
}

/** Undici has headers as a list of names and values, in which a repeated one has a list of values. */
function hasHeader(headers: UndiciRequest['headers']): (name: string) => boolean {
  if (typeof headers === 'string') {
    const text = `\n${headers.toLowerCase()}`
    return (name) => text.includes(`\n${name}:`)
  }
  const names = new Set<string>()
  for (let index = 0; index < headers.length; index += 2) names.add(String(headers[index]).toLowerCase())
  return (name) => names.has(name)
}
