import type { Readable } from 'node:stream'
import type { StandardSchema } from '../http/schema.ts'
import { currentDeadline, isMeshRetrying } from '../mesh/current.ts'
import { expectedTimeoutHeader } from '../mesh/deadline.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Attempt } from '../resilience/attempt.ts'
import { pipeline as createPipeline, standardBreaker, standardPipeline } from '../resilience/pipeline.ts'
import type { Pipeline, PipelineHealth, PipelineOptions } from '../resilience/pipeline.ts'
import { propagationHeaders } from '../trace/current.ts'
import type { BalancerHealth } from '../discovery/balancer.ts'
import type { Discovery } from '../discovery/registry.ts'
import type { Balancer } from './balancer.ts'
import { CallError, classifyCall, isServed, statusError, toCallError } from './call-error.ts'
import { toDestination } from './discovered.ts'
import type { BalanceOptions, OwnBalancer } from './discovered.ts'
import { requestReporter } from './metrics.ts'
import type { RequestReporter } from './metrics.ts'
import { followRedirect, pathOf, readOutput, renderBody, toResponse, validateBody } from './message.ts'
import { createFetchTransport, createNodeTransport, readBytes } from './transport.ts'
import type { ConnectionOptions, Transport, TransportResponse } from './transport.ts'

/** The part of the Standard Schema specification that bodies are checked with. */
export type ResponseSchema<Output> = { readonly '~standard': Pick<StandardSchema<Output>['~standard'], 'validate'> }

export interface ClientOptions {
  /** What metrics and errors of policies call the service. Default: the host of its address. */
  readonly name?: string | undefined
  /** For a whole call: retries, waits and the answer's body included. Default 5000. */
  readonly timeoutMs?: number | undefined
  /**
   * `standard` (default): the policies of {@link standardPipeline}, within `timeoutMs`. `plain`: a deadline and no more. Or the
   * policies themselves, of which `retry.classify`, `breaker.isSuccessful` have the client's defaults.
   */
  readonly preset?: 'standard' | 'plain' | PipelineOptions | Pipeline | undefined
  /** For one try. Default: all of the time that is left. Give one where a try that hangs should be made anew. */
  readonly attemptTimeoutMs?: number | undefined
  /** Response bodies above this are refused, and bodies to send by {@link Client.fetch}. Default 8 MiB. */
  readonly bodyLimitBytes?: number | undefined
  /** On every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** How many redirects are followed, within the same origin only. Default 0: a redirect is an answer other than 2xx. */
  readonly maxRedirects?: number | undefined
  /** Whether a service mesh retries the calls. Default: found out for each request, see {@link isMeshRetrying}. */
  readonly isMeshRetrying?: boolean | undefined
  readonly connections?: ConnectionOptions | undefined
  /** How calls are spread over the instances of an address such as `k8s://shop/orders:http`. Default `p2c`. */
  readonly balance?: BalanceOptions | undefined
  /** Knows the instances of the service that an `http://` address names. Default: DNS of the system, one address. */
  readonly discovery?: Discovery | undefined
  /** Sends in place of node:http. */
  readonly fetch?: ((url: URL, init: RequestInit) => Promise<Response>) | undefined
  readonly metrics?: Metrics | undefined
}

export interface RequestCallOptions {
  readonly query?: Readonly<Record<string, string | number | undefined>> | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Sent as JSON; a `Uint8Array` as it is. */
  readonly body?: unknown
  /** Checks the body before it is sent. */
  readonly bodySchema?: ResponseSchema<unknown> | undefined
  /** Default: the client's. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Whether doing it twice is the same as once. Default: by the method, or true with an `idempotency-key` header. */
  readonly idempotent?: boolean | undefined
  /** Other policies than the client's. */
  readonly policies?: Pipeline | undefined
}

export interface CallOptions<Output> extends RequestCallOptions {
  /** Default GET, or POST when there is a `body`. */
  readonly method?: string | undefined
  /** Checks and types the answer. Without one it is `unknown`. */
  readonly schema?: ResponseSchema<Output> | undefined
}

/** An answer that is read as it comes. Whoever takes it reads its body to the end or destroys it. */
export interface StreamedAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Ends with an error when nothing came for `timeoutMs`. */
  readonly body: Readable
}

type MethodCall = <Output = unknown>(path: string, options?: Omit<CallOptions<Output>, 'method'>) => Promise<Output>

/** State of the policies, and of the instances where the client looks for them itself. */
export interface ClientHealth extends Omit<PipelineHealth, 'status'> {
  readonly status: 'up' | 'degraded' | 'down'
  readonly endpoints?: BalancerHealth | undefined
}

/** Calls another service. */
export interface Client extends Disposable {
  readonly name: string
  readonly policies: Pipeline
  /**
   * The JSON of a 2xx answer; undefined for one without a body. The call carries the trace, mesh headers and deadline of the
   * request it is made for.
   *
   * @throws {CallError}
   */
  json<Output = unknown>(path: string, options?: CallOptions<Output>): Promise<Output>
  /** {@link json} by method. */
  readonly get: MethodCall
  readonly post: MethodCall
  readonly put: MethodCall
  readonly patch: MethodCall
  readonly delete: MethodCall
  /**
   * A 2xx answer whose body is not read yet. The deadline is for its head.
   *
   * @throws {CallError}
   */
  stream(path: string, options?: Omit<CallOptions<unknown>, 'schema'>): Promise<StreamedAnswer>
  /**
   * The `fetch` of the Web platform under the client's policies, for code that wants one (generated SDKs). Answers of any status
   * are returned; bodies to send are read into memory first, so that they can be sent again. Addresses are relative to the
   * service, or of its origin.
   *
   * @throws {CallError} when there is no answer. When `init.signal` aborts, its reason.
   */
  readonly fetch: (input: string | URL | Request, init?: RequestInit) => Promise<Response>
  /** `down` when there is no instance to call. */
  health(): ClientHealth
  /** Closes the connections, and ends the search for instances. */
  [Symbol.dispose](): void
}

/**
 * A client of the service at `target`: its base address, an address under which its instances are found (`dns://`, `srv://`,
 * `consul://`, `k8s://`, see docs/service/discovery.md), or a balancer over its instances. No connection is made before the first
 * call.
 *
 * ```ts
 * const catalog = client('http://catalog', { timeoutMs: 2000 })
 * const product = await catalog.get('/products/mug-01')
 * ```
 *
 * @throws {TypeError} when `target` is no address; `FAIRLEAD_SERVICE_TARGET` when it is none of another scheme.
 */
export function client(target: string | Balancer, options: ClientOptions = {}): Client {
  return new HttpClient(target, options)
}

/** RFC 9110, section 9.2.2. */
const idempotentMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])

/** What a call sends, whichever instance gets it. */
interface Outgoing {
  readonly subject: string
  readonly path: string
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array | undefined
  readonly isIdempotent: boolean
  /** Instances that got it. */
  tried?: string[]
}

class HttpClient implements Client {
  readonly name: string
  readonly policies: Pipeline
  readonly get: MethodCall = (path, options) => this.json(path, { ...options, method: 'GET' })
  readonly post: MethodCall = (path, options) => this.json(path, { ...options, method: 'POST' })
  readonly put: MethodCall = (path, options) => this.json(path, { ...options, method: 'PUT' })
  readonly patch: MethodCall = (path, options) => this.json(path, { ...options, method: 'PATCH' })
  readonly delete: MethodCall = (path, options) => this.json(path, { ...options, method: 'DELETE' })
  readonly #options: ClientOptions
  readonly #base: URL | undefined
  readonly #balancer: Balancer | undefined
  readonly #ownBalancer: OwnBalancer | undefined
  readonly #transport: Transport
  readonly #report: RequestReporter | undefined
  readonly #timeoutMs: number
  readonly #bodyLimitBytes: number

  constructor(target: string | Balancer, options: ClientOptions) {
    this.#options = options
    const destination = typeof target === 'string' ? toDestination(target, options) : undefined
    this.#base = destination?.base
    this.#ownBalancer = destination?.balancer
    this.#balancer = typeof target === 'string' ? this.#ownBalancer : target
    this.name = options.name ?? destination?.name ?? 'service'
    this.policies = toPipeline(this.name, options)
    this.#transport = options.fetch ? createFetchTransport(options.fetch) : createNodeTransport(options.connections)
    this.#report = options.metrics && requestReporter(options.metrics)
    this.#timeoutMs = options.timeoutMs ?? 5000
    this.#bodyLimitBytes = options.bodyLimitBytes ?? 8 * 1024 * 1024
  }

  async json<Output>(path: string, call: CallOptions<Output> = {}): Promise<Output> {
    const outgoing = await this.#prepare(path, call)
    return this.#execute(outgoing, call, async (attempt) => {
      const response = await this.#exchange(outgoing, attempt)
      const text = (await this.#read(outgoing, response)).toString()
      if (response.status < 200 || response.status > 299)
        throw statusError(outgoing.subject, response.status, response.headers, text)
      return await readOutput(outgoing.subject, text, call.schema)
    })
  }

  async stream(path: string, call: Omit<CallOptions<unknown>, 'schema'> = {}): Promise<StreamedAnswer> {
    const outgoing = await this.#prepare(path, call)
    return this.#execute(outgoing, call, async (attempt) => {
      const response = await this.#exchange(outgoing, attempt)
      if (response.status >= 200 && response.status <= 299) return this.#watched(response, call)
      const text = (await this.#read(outgoing, response)).toString()
      throw statusError(outgoing.subject, response.status, response.headers, text)
    })
  }

  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const base = this.#base ?? new URL('http://service/')
    const request = input instanceof Request ? new Request(input, init) : new Request(new URL(input, base), init)
    const url = new URL(request.url)
    const subject = `${request.method} ${url.origin}${url.pathname}`
    if (this.#base !== undefined && url.origin !== base.origin)
      throw new CallError(subject, 'invalid', `it is not of this client's origin ${base.origin}`)
    const body = request.body === null ? undefined : await this.#readSent(subject, request.body)
    const headers = Object.fromEntries(request.headers)
    const outgoing: Outgoing = {
      subject,
      path: url.pathname + url.search,
      method: request.method,
      headers: { ...this.#options.headers, ...headers },
      body,
      isIdempotent: this.#isIdempotent(request.method, undefined, headers),
    }
    // Made from `init` and not from the request, which always has one: a listener that nobody needs is dear.
    const signal = init.signal ?? (input instanceof Request ? input.signal : undefined)
    const redirects = request.redirect === 'follow' ? 20 : 0
    let held: TransportResponse | undefined
    try {
      const response = await this.#execute(outgoing, { signal }, async (attempt) => {
        held?.body.destroy()
        held = await this.#exchange(outgoing, attempt, redirects)
        // Thrown for the policies to see; whoever calls gets it as an answer.
        if (held.status >= 500 || held.status === 429) throw statusError(subject, held.status, held.headers, '')
        return held
      })
      return toResponse(response, request.url, signal)
    } catch (error) {
      if (held !== undefined && !signal?.aborted && error instanceof CallError && error.status === held.status)
        return toResponse(held, request.url, signal)
      held?.body.destroy()
      throw signal?.aborted ? signal.reason : error
    }
  }

  health(): ClientHealth {
    const health = this.policies.health()
    const endpoints = this.#ownBalancer?.health()
    if (endpoints === undefined) return health
    return { ...health, status: endpoints.status === 'up' ? health.status : endpoints.status, endpoints }
  }

  [Symbol.dispose](): void {
    this.#ownBalancer?.[Symbol.dispose]()
    this.#transport[Symbol.dispose]()
  }

  async #prepare(path: string, call: CallOptions<unknown>): Promise<Outgoing> {
    const method = call.method ?? (call.body === undefined ? 'GET' : 'POST')
    const subject = `${method} ${this.#base?.origin ?? this.name}${pathOf(this.#base?.pathname ?? '/', path, undefined)}`
    if (call.bodySchema !== undefined) await validateBody(subject, call.bodySchema, call.body)
    const { body, contentType } = renderBody(call.body)
    const headers: Record<string, string> = { accept: 'application/json' }
    if (contentType !== undefined) headers['content-type'] = contentType
    Object.assign(headers, propagationHeaders(), this.#options.headers, call.headers)
    return {
      subject,
      path: pathOf(this.#base?.pathname ?? '/', path, call.query),
      method,
      headers,
      body,
      isIdempotent: this.#isIdempotent(method, call.idempotent, headers),
    }
  }

  #isIdempotent(method: string, told: boolean | undefined, headers: Readonly<Record<string, string>>): boolean {
    return told ?? (idempotentMethods.has(method) || headers['idempotency-key'] !== undefined)
  }

  async #execute<T>(
    outgoing: Outgoing,
    call: Pick<RequestCallOptions, 'policies' | 'signal' | 'timeoutMs'>,
    work: (attempt: Attempt) => Promise<T>,
  ): Promise<T> {
    const ownDeadline = performance.now() + (call.timeoutMs ?? this.#timeoutMs)
    try {
      return await (call.policies ?? this.policies).execute(work, {
        idempotent: outgoing.isIdempotent,
        isSingle: isMeshRetrying(this.#options.isMeshRetrying),
        deadline: Math.min(ownDeadline, currentDeadline() ?? Infinity),
        signal: call.signal,
      })
    } catch (error) {
      throw toCallError(outgoing.subject, error, call.signal)
    }
  }

  /** One try: an instance, a request, the head of its answer. */
  async #exchange(
    outgoing: Outgoing,
    attempt: Attempt,
    redirects: number = this.#options.maxRedirects ?? 0,
  ): Promise<TransportResponse> {
    const picked = this.#balancer && (await this.#balancer.pick(outgoing.tried))
    if (picked !== undefined) (outgoing.tried ??= []).push(picked.url)
    const base = picked?.base ?? (picked === undefined ? this.#base : undefined) ?? new URL(picked?.url ?? '')
    // What the user wrote, if it names a host; otherwise what the instance is known by.
    const authority = picked && (this.#base?.host ?? picked.authority)
    const startedAt = performance.now()
    let status = 'error'
    try {
      const response = await this.#send(base, authority, outgoing, attempt, redirects)
      status = String(response.status)
      const outcome = response.status >= 500 ? 'failure' : 'success'
      picked?.done(outcome, performance.now() - startedAt, response.status)
      return response
    } catch (error) {
      const isOver = attempt.isAborted && attempt.remainingMs > 0
      picked?.done(isOver ? 'ignored' : 'failure', performance.now() - startedAt)
      throw toCallError(outgoing.subject, error, undefined)
    } finally {
      this.#report?.(this.name, outgoing.method, status, performance.now() - startedAt)
    }
  }

  async #send(
    base: URL,
    authority: string | undefined,
    outgoing: Outgoing,
    attempt: Attempt,
    redirects: number,
  ): Promise<TransportResponse> {
    let { path, method, body } = outgoing
    const headers: Record<string, string> = { ...outgoing.headers }
    if (authority !== undefined) headers['host'] ??= authority
    if (body !== undefined) headers['content-length'] = String(Buffer.byteLength(body))
    for (let left = redirects; ; left -= 1) {
      // What is left now, and not what was when the call began.
      if (attempt.deadline < Infinity)
        headers[expectedTimeoutHeader] = String(Math.max(1, Math.floor(attempt.remainingMs)))
      const { isIdempotent } = outgoing
      const response = await this.#transport.send({ origin: base, path, method, headers, body, isIdempotent }, attempt)
      const next = left > 0 ? followRedirect(response, base, path, method) : undefined
      if (next === undefined) return response
      response.body.destroy()
      ;({ path } = next)
      if (next.method !== method) {
        ;({ method } = next)
        body = undefined
        delete headers['content-length']
        delete headers['content-type']
      }
    }
  }

  async #read(outgoing: Outgoing, response: TransportResponse): Promise<Buffer> {
    try {
      return await readBytes(response.body, this.#bodyLimitBytes)
    } catch (error) {
      if (!(error instanceof RangeError)) throw toCallError(outgoing.subject, error, undefined)
      throw new CallError(outgoing.subject, 'invalid', `the answer cannot be read (${error.message})`, { cause: error })
    }
  }

  async #readSent(subject: string, body: ReadableStream<Uint8Array>): Promise<Buffer> {
    try {
      return await readBytes(process.getBuiltinModule('node:stream').Readable.fromWeb(body), this.#bodyLimitBytes)
    } catch (error) {
      const state =
        error instanceof RangeError ? `the body is larger than ${this.#bodyLimitBytes} bytes` : 'the body ended early'
      throw new CallError(subject, 'invalid', state, { cause: error })
    }
  }

  #watched(response: TransportResponse, call: RequestCallOptions): StreamedAnswer {
    const { body } = response
    const idleMs = call.timeoutMs ?? this.#timeoutMs
    if ('setTimeout' in body && typeof body.setTimeout === 'function')
      body.setTimeout(idleMs, () => body.destroy(new Error(`Nothing came for ${idleMs} ms`)))
    return response
  }
}

function toPipeline(name: string, options: ClientOptions): Pipeline {
  const { preset = 'standard', attemptTimeoutMs, metrics } = options
  if (typeof preset === 'object' && 'execute' in preset) return preset
  // The deadline comes with each call; the pipeline has none of its own.
  const common = { name, attemptTimeoutMs, metrics, totalTimeoutMs: undefined }
  if (preset === 'plain') return createPipeline(common)
  const given = preset === 'standard' ? {} : preset
  return standardPipeline({
    ...common,
    ...given,
    retry: { classify: classifyCall, ...given.retry },
    breaker:
      given.breaker !== undefined && 'enter' in given.breaker
        ? given.breaker
        : { ...standardBreaker(name), isSuccessful: isServed, ...given.breaker },
  })
}
