import type { IncomingMessage } from 'node:http'
import { TLSSocket } from 'node:tls'

import type { Access } from './access/access.ts'
import type { Attributes } from './access/attributes.ts'
import { asksImpersonation } from './access/impersonation.ts'
import { askedAttributes } from './access/request-attributes.ts'
import type { OriginCheck } from './access/origin.ts'
import type { ApiRequest, Identity } from './exchange.ts'
import type { Seat } from './in-flight.ts'
import { PlainRequest } from './plain-connections.ts'
import { badRequest, tooLarge } from './status.ts'
import type { Cancellation } from './under-way.ts'

const bodyLimitBytes = 3 << 20

/** A request while it is answered, whoever has read it. */
export interface Exchange {
  readonly incoming: IncomingMessage | PlainRequest
  readonly cancellation: Cancellation
  readonly isUpgrade: boolean
  seat: Seat
}

/** What tells who asks. */
export interface Doorkeepers {
  readonly access: Access
  /** Which requests may come from a web page. */
  readonly origin: OriginCheck
}

/** Throws 401 and 403 for who may not come in at all. */
export function toRequest(options: Doorkeepers, exchange: Exchange): ApiRequest {
  const { incoming } = exchange
  const { identity, impersonator } = identify(options, incoming)
  return new HttpRequest(exchange, identity, impersonator)
}

/** A request that came by HTTP. A class, as nothing is made for it that is not asked for. */
class HttpRequest implements ApiRequest {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly identity: Identity
  readonly impersonator: Identity | undefined
  readonly target: string | undefined
  readonly remoteAddress: string | undefined
  readonly isUpgrade: boolean
  readonly #exchange: Exchange

  constructor(exchange: Exchange, identity: Identity, impersonator: Identity | undefined) {
    const { incoming, isUpgrade } = exchange
    const { path, query } = parseTarget(incoming.url ?? '/')
    this.method = incoming.method ?? 'GET'
    this.path = path
    this.query = query
    this.headers = incoming.headers as Record<string, string | undefined>
    this.identity = identity
    this.impersonator = impersonator
    this.target = incoming.url
    this.remoteAddress = incoming.socket.remoteAddress
    this.isUpgrade = isUpgrade
    this.#exchange = exchange
  }

  get signal(): AbortSignal {
    return this.#exchange.cancellation.signal
  }

  readBody(): Promise<Buffer> {
    const { incoming } = this.#exchange
    return incoming instanceof PlainRequest ? incoming.readBody() : readBody(incoming)
  }
}

/** Who asks, and as whom; throws 401 and 403. Upgrades go through this as well. */
function identify(
  { access, origin }: Doorkeepers,
  incoming: Exchange['incoming'],
): Pick<ApiRequest, 'identity' | 'impersonator'> {
  const headers = incoming.headers as Record<string, string | undefined>
  origin.check(headers)
  const socket = incoming.socket instanceof TLSSocket ? incoming.socket : undefined
  const identity = access.authenticator.authenticate(headers, socket)
  if (!asksImpersonation(headers)) return { identity, impersonator: undefined }
  const { method = 'GET', url = '/', headersDistinct } = incoming
  const asked = (): Attributes => {
    const { path, query } = parseTarget(url)
    return askedAttributes(method, path, query)
  }
  return { identity: access.impersonation.impersonate(identity, headersDistinct, asked), impersonator: identity }
}

/** Path and query of a request target; throws 400 when its escapes are malformed. */
export function parseTarget(target: string): { path: string; query: URLSearchParams } {
  const at = target.indexOf('?')
  const raw = at < 0 ? target : target.slice(0, at)
  try {
    const path = raw.includes('%') ? decodeURIComponent(raw) : raw
    return { path, query: at < 0 ? new URLSearchParams() : new URLSearchParams(target.slice(at + 1)) }
  } catch {
    throw badRequest('the path of the request is malformed')
  }
}

async function readBody(incoming: IncomingMessage): Promise<Buffer> {
  if (Number(incoming.headers['content-length'] ?? 0) > bodyLimitBytes) throw tooLarge(bodyLimitBytes)
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const chunks: Buffer[] = []
  let size = 0
  // Listeners instead of iteration: a third of the cost for the one or two chunks of a usual body.
  incoming.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > bodyLimitBytes) return reject(tooLarge(bodyLimitBytes))
    chunks.push(chunk)
  })
  incoming.on('end', () => resolve(joined(chunks, size)))
  incoming.on('error', reject)
  incoming.on('close', () => {
    if (!incoming.complete) reject(badRequest('the body of the request is incomplete'))
  })
  return await promise
}

function joined(chunks: readonly Buffer[], size: number): Buffer {
  const [only] = chunks
  return chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks, size)
}
