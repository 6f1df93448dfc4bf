import { Readable } from 'node:stream'
import type { IncomingMessage } from 'node:http'
import { discardBody, readBody } from './body.ts'
import { problem } from './problem.ts'

/**
 * A `Request` that is built only as far as it is looked at: most handlers read the path and one header, and a real one
 * costs more than everything else that happens to a request. What needs a real one (`formData`, `clone`, `body`...) makes it.
 * It is an `instanceof Request`; to pass it to `new Request(...)` or `fetch(...)`, pass `request.clone()`.
 */
export function createRequest(message: IncomingMessage, bodyLimitBytes: number, signal: () => AbortSignal): Request {
  // Late, because Node loads its whole fetch with the first look at Request.
  if (Object.getPrototypeOf(LazyRequest.prototype) === Object.prototype)
    Object.setPrototypeOf(LazyRequest.prototype, Request.prototype)
  // LazyRequest has every member of Request: its own below, the others through `real`.
  return new LazyRequest(message, bodyLimitBytes, signal) as unknown as Request
}

class LazyRequest {
  readonly #message: IncomingMessage
  readonly #limitBytes: number
  readonly #signal: () => AbortSignal
  #headers: Headers | undefined
  #real: Request | undefined
  #isRead = false

  constructor(message: IncomingMessage, limitBytes: number, signal: () => AbortSignal) {
    this.#message = message
    this.#limitBytes = limitBytes
    this.#signal = signal
  }

  get method(): string {
    return this.#message.method ?? 'GET'
  }

  get url(): string {
    return requestUrl(this.#message)
  }

  get headers(): Headers {
    return (this.#headers ??= toHeaders(this.#message))
  }

  get signal(): AbortSignal {
    return this.#signal()
  }

  get bodyUsed(): boolean {
    return this.#isRead || (this.#real?.bodyUsed ?? false)
  }

  async text(): Promise<string> {
    return new TextDecoder().decode(await this.bytes())
  }

  async json(): Promise<unknown> {
    const text = await this.text()
    try {
      return JSON.parse(text)
    } catch {
      throw problem(400, 'The request body is not valid JSON')
    }
  }

  async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#real) return new Uint8Array(await this.#real.arrayBuffer())
    if (this.#isRead) throw new TypeError('Cannot read the request body: it has been read already')
    this.#isRead = true
    return new Uint8Array(await readBody(this.#message, this.#limitBytes))
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return (await this.bytes()).buffer
  }

  get real(): Request {
    if (this.#isRead) throw new TypeError('Cannot use the request: its body has been read already')
    return (this.#real ??= this.#build())
  }

  #build(): Request {
    const hasBody = this.method !== 'GET' && this.method !== 'HEAD'
    return new Request(this.url, {
      method: this.method,
      headers: this.headers,
      signal: this.signal,
      ...(hasBody ? { body: limitedStream(this.#message, this.#limitBytes), duplex: 'half' } : {}),
    })
  }
}

const delegated = [
  'body',
  'cache',
  'credentials',
  'destination',
  'integrity',
  'keepalive',
  'mode',
  'redirect',
  'referrer',
  'referrerPolicy',
  'duplex',
] as const
const delegatedMethods = ['blob', 'clone', 'formData'] as const
for (const name of delegated) {
  Object.defineProperty(LazyRequest.prototype, name, {
    get(this: LazyRequest) {
      return Reflect.get(this.real, name)
    },
  })
}
for (const name of delegatedMethods) {
  Object.defineProperty(LazyRequest.prototype, name, {
    value(this: LazyRequest) {
      return this.real[name]()
    },
  })
}
/** Absolute, with the host as the caller named it. */
function requestUrl(message: IncomingMessage): string {
  const target = message.url ?? '/'
  if (!target.startsWith('/')) return target
  const host = message.headers.host ?? ''
  const scheme = 'encrypted' in message.socket ? 'https' : 'http'
  return `${scheme}://${/^[\w.:[\]-]+$/.test(host) ? host : 'localhost'}${target}`
}

function toHeaders(message: IncomingMessage): Headers {
  const headers = new Headers()
  for (let index = 0; index + 1 < message.rawHeaders.length; index += 2) {
    headers.append(message.rawHeaders[index] ?? '', message.rawHeaders[index + 1] ?? '')
  }
  return headers
}

function limitedStream(message: IncomingMessage, limitBytes: number): ReadableStream<Uint8Array> {
  let size = 0
  const source = Readable.toWeb(message) as ReadableStream<Uint8Array>
  return source.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        size += chunk.length
        if (size > limitBytes) controller.error(discardBody(message, limitBytes, size))
        else controller.enqueue(chunk)
      },
    }),
  )
}
