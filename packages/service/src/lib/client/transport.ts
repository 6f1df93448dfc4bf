import type { Agent, AgentOptions, IncomingMessage, RequestOptions } from 'node:http'
import type { Readable } from 'node:stream'
import { codeOf } from '../errors.ts'
import { nodeHttp, nodeHttps } from '../node-http.ts'
import type { Attempt } from '../resilience/attempt.ts'

export interface TransportRequest {
  /** `http://host:port`, without a path. */
  readonly origin: URL
  /** With query. */
  readonly path: string
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array | undefined
  /** Whether it may be sent again when a kept connection turns out to be closed. */
  readonly isIdempotent: boolean
}

/** An answer whose body is still to be read, or destroyed. */
export interface TransportResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Readable
}

export interface Transport extends Disposable {
  send(request: TransportRequest, attempt: Attempt): Promise<TransportResponse>
}

/** PEM. */
export interface ClientTls {
  /** Authorities that are trusted in place of Node's own. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[] | undefined
  /** Shown to servers that ask for one, with its key. */
  readonly cert?: string | Buffer | undefined
  readonly key?: string | Buffer | undefined
  /** The name that the certificate has to have. Default: the host of the address. */
  readonly servername?: string | undefined
}

export interface ConnectionOptions {
  /** For `https://` addresses. */
  readonly tls?: ClientTls | undefined
  /** Connections to one address at once. Default 256. */
  readonly maxConnections?: number | undefined
  /**
   * How long an unused connection is kept. Default 4000: less than the 5 s after which many servers close theirs, into which a
   * request might just be sent.
   */
  readonly idleMs?: number | undefined
}

/**
 * Sends by node:http: a call costs 24 microseconds of CPU, with `fetch` and a deadline 77; `request` of undici costs 21 but would be
 * a dependency (measured by benchmarks/micro/client.bench.ts). diagnostics_channel sees the calls.
 */
export function createNodeTransport(options: ConnectionOptions = {}): Transport {
  const idleMs = options.idleMs ?? 4000
  const pools = new Map<string, Agent>()
  let usedAt = Date.now()

  const poolOf = (protocol: string): Agent => {
    let pool = pools.get(protocol)
    if (pool === undefined) {
      const settings = {
        keepAlive: true,
        maxSockets: options.maxConnections ?? 256,
        timeout: idleMs,
        scheduling: 'lifo',
      } as const
      pool = protocol === 'https:' ? openSecurePool(settings, options.tls) : new (nodeHttp().Agent)(settings)
      pools.set(protocol, pool)
    }
    return pool
  }
  return {
    async send(request, attempt) {
      const pool = poolOf(request.origin.protocol)
      // After a freeze (a function between two invocations, a stopped machine) no timer has run, and the wall clock shows it.
      const now = Date.now()
      if (now - usedAt > idleMs) dropIdle(pool)
      usedAt = now
      try {
        return await sendOnce(request, attempt, pool)
      } catch (error) {
        if (!(error instanceof StaleConnection)) throw error
        // Where one was closed the others probably are: the second try gets a new connection (RFC 9112, section 9.3.1).
        dropIdle(pool)
        if (!request.isIdempotent) throw error.cause
        return await sendOnce(request, attempt, pool).catch((second: unknown) => {
          throw second instanceof StaleConnection ? second.cause : second
        })
      }
    },
    [Symbol.dispose]() {
      for (const pool of pools.values()) pool.destroy()
    },
  }
}

function openSecurePool(settings: AgentOptions, tls: ClientTls = {}): Agent {
  const { ca, ...rest } = tls
  // Node's type has no word for a list that nobody changes.
  const trusted = ca === undefined ? {} : { ca: typeof ca === 'string' || Buffer.isBuffer(ca) ? ca : [...ca] }
  const given = Object.entries(rest).filter(([, value]) => value !== undefined)
  return new (nodeHttps().Agent)({ ...settings, ...trusted, ...Object.fromEntries(given) })
}

/** A kept connection was closed by the other side before it answered anything. */
class StaleConnection extends Error {}

const staleCodes = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED'])

function sendOnce(request: TransportRequest, attempt: Attempt, agent: Agent): Promise<TransportResponse> {
  const { origin } = request
  const isSecure = origin.protocol === 'https:'
  const options: RequestOptions = {
    hostname: origin.hostname.startsWith('[') ? origin.hostname.slice(1, -1) : origin.hostname,
    port: origin.port === '' ? (isSecure ? 443 : 80) : origin.port,
    path: request.path,
    method: request.method,
    headers: request.headers,
    agent,
  }
  return new Promise((resolve, reject) => {
    const outgoing = isSecure ? nodeHttps().request(options) : nodeHttp().request(options)
    outgoing.on('response', (incoming: IncomingMessage) =>
      resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: incoming }),
    )
    outgoing.on('error', (error) => {
      const isStale = outgoing.reusedSocket && staleCodes.has(codeOf(error) ?? '')
      reject(isStale ? new StaleConnection('The connection was closed', { cause: error }) : error)
    })
    attempt.onAbort((reason) => outgoing.destroy(reason instanceof Error ? reason : undefined))
    outgoing.end(request.body)
  })
}

function dropIdle(pool: Agent): void {
  for (const sockets of Object.values(pool.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
}

/** Sends by a function like the global `fetch`. */
export function createFetchTransport(send: (url: URL, init: RequestInit) => Promise<Response>): Transport {
  return {
    async send({ origin, path, method, headers, body }, attempt) {
      const response = await send(new URL(path, origin), {
        method,
        headers: { ...headers },
        signal: attempt.signal,
        redirect: 'manual',
        ...(body === undefined ? {} : { body: body as RequestInit['body'] & {} }),
      })
      const { Readable: Stream } = process.getBuiltinModule('node:stream')
      const stream = response.body === null ? Stream.from([]) : Stream.fromWeb(response.body)
      return { status: response.status, headers: Object.fromEntries(response.headers), body: stream }
    },
    [Symbol.dispose]() {},
  }
}

/**
 * The whole body.
 *
 * @throws {RangeError} when it is longer than `limitBytes`; the connection is closed then.
 */
export function readBytes(body: Readable, limitBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    body.on('data', (chunk: Uint8Array) => {
      size += chunk.length
      if (size > limitBytes) {
        reject(new RangeError(`the answer is larger than ${limitBytes} bytes`))
        body.destroy()
      } else chunks.push(Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk))
    })
    body.on('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)))
    body.on('error', reject)
    // After "end" this changes nothing.
    body.on('close', () => reject(new Error('the connection was closed before the end of the answer')))
  })
}
