import { classCodes, messageOf } from '../errors.ts'
import { propagationHeaders } from '../trace/current.ts'

/** The part of the Standard Schema specification a response is read with. */
export interface ResponseSchema<Output> {
  readonly '~standard': {
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
  }
}
type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string }[] }

export interface ClientOptions {
  /** For a whole call, response body included. Default 5000. */
  readonly timeoutMs?: number | undefined
  /** Response bodies above this are refused. Default 8 MiB. */
  readonly bodyLimitBytes?: number | undefined
  /** Default: the global `fetch`. */
  readonly fetch?: ((url: URL, init: RequestInit) => Promise<Response>) | undefined
}

export interface CallOptions<Output> {
  /** Default GET, or POST when there is a `body`. */
  readonly method?: string | undefined
  readonly query?: Readonly<Record<string, string | number | undefined>> | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Sent as JSON. */
  readonly body?: unknown
  /** Checks and types the answer. Without one it is `unknown`. */
  readonly schema?: ResponseSchema<Output> | undefined
  /** Default: the client's. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Calls another service. */
export interface Client {
  /**
   * The JSON of a 2xx answer; undefined for one without a body. The call carries the trace and request id of the
   * request it is made for.
   *
   * @throws {CallError}
   */
  json<Output = unknown>(path: string, options?: CallOptions<Output>): Promise<Output>
}

/** Why a call to another service gave nothing usable. */
export class CallError extends Error {
  override readonly name = 'CallError'
  readonly code: 'FAIRLEAD_SERVICE_CALL' = classCodes.call
  readonly hint = 'Check that the called service is up and that its address is right'
  /**
   * `unreachable`: no answer. `timeout`: none in time. `aborted`: our caller gave up. `status`: an answer, but not 2xx.
   * `invalid`: a 2xx answer that could not be read.
   */
  readonly reason: 'unreachable' | 'timeout' | 'aborted' | 'status' | 'invalid'
  readonly status: number | undefined
  /** The answer's `detail` when it was problem details (RFC 9457). */
  readonly detail: string | undefined

  constructor(
    subject: string,
    reason: CallError['reason'],
    state: string,
    options: { readonly status?: number; readonly detail?: string | undefined; readonly cause?: unknown } = {},
  ) {
    super(`Cannot call "${subject}": ${state}`, options.cause === undefined ? {} : { cause: options.cause })
    this.reason = reason
    this.status = options.status
    this.detail = options.detail
  }
}

/**
 * A client of the service at `baseUrl`. No connection is made before the first call.
 *
 * ```ts
 * const catalog = client('http://catalog', { timeoutMs: 2000 })
 * const product = await catalog.json('/products/mug-01')
 * ```
 */
export function client(baseUrl: string, options: ClientOptions = {}): Client {
  const base = new URL(baseUrl.endsWith('/') ? baseUrl : `${baseUrl}/`)
  const bodyLimitBytes = options.bodyLimitBytes ?? 8 * 1024 * 1024
  const send = options.fetch ?? fetch

  return {
    async json<Output>(path: string, call: CallOptions<Output> = {}): Promise<Output> {
      const url = urlOf(base, path, call.query)
      const subject = `${call.method ?? (call.body === undefined ? 'GET' : 'POST')} ${url.origin}${url.pathname}`
      const deadline = AbortSignal.timeout(call.timeoutMs ?? options.timeoutMs ?? 5000)
      try {
        const response = await send(url, initOf(call, deadline))
        const text = await readText(response, bodyLimitBytes)
        if (!response.ok) throw statusError(subject, response.status, text)
        return await readOutput(subject, text, call.schema)
      } catch (error) {
        throw toCallError(subject, error, deadline, call.signal)
      }
    },
  }
}

function urlOf(base: URL, path: string, query: CallOptions<unknown>['query']): URL {
  const url = new URL(path.replace(/^\/+/, ''), base)
  for (const [name, value] of Object.entries(query ?? {}))
    if (value !== undefined) url.searchParams.set(name, String(value))
  return url
}

function initOf(call: CallOptions<unknown>, deadline: AbortSignal): RequestInit {
  const hasBody = call.body !== undefined
  return {
    method: call.method ?? (hasBody ? 'POST' : 'GET'),
    headers: {
      accept: 'application/json',
      ...(hasBody ? { 'content-type': 'application/json' } : {}),
      ...propagationHeaders(),
      ...call.headers,
    },
    signal: call.signal ? AbortSignal.any([deadline, call.signal]) : deadline,
    redirect: 'manual',
    ...(hasBody ? { body: JSON.stringify(call.body) } : {}),
  }
}

async function readText(response: Response, limitBytes: number): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > limitBytes) throw new RangeError(`the answer is larger than ${limitBytes} bytes`)
    text += decoder.decode(chunk, { stream: true })
  }
  return text + decoder.decode()
}

async function readOutput<Output>(
  subject: string,
  text: string,
  schema: ResponseSchema<Output> | undefined,
): Promise<Output> {
  const value: unknown = text === '' ? undefined : JSON.parse(text)
  // Without a schema Output is the caller's word for it, `unknown` unless they say otherwise.
  if (schema === undefined) return value as Output
  const result = await schema['~standard'].validate(value)
  if (result.issues === undefined) return result.value
  throw new CallError(
    subject,
    'invalid',
    `the answer is not as expected (${result.issues.map(({ message }) => message).join('; ')})`,
  )
}

function statusError(subject: string, status: number, text: string): CallError {
  let detail: unknown
  try {
    detail = (JSON.parse(text) as { detail?: unknown } | null)?.detail
  } catch {
    // Not problem details: the status says enough.
  }
  return new CallError(subject, 'status', `it answered ${status}`, {
    status,
    detail: typeof detail === 'string' ? detail : undefined,
  })
}

function toCallError(
  subject: string,
  error: unknown,
  deadline: AbortSignal,
  signal: AbortSignal | undefined,
): CallError {
  if (error instanceof CallError) return error
  if (signal?.aborted) return new CallError(subject, 'aborted', 'the caller gave up', { cause: error })
  if (deadline.aborted) return new CallError(subject, 'timeout', 'there was no answer in time', { cause: error })
  if (error instanceof SyntaxError || error instanceof RangeError) {
    return new CallError(subject, 'invalid', `the answer cannot be read (${messageOf(error)})`, { cause: error })
  }
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  return new CallError(subject, 'unreachable', `there is no connection (${messageOf(cause)})`, { cause: error })
}
