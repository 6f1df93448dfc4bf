import { acceptKey } from '@fairlead/kube/streaming'

import type { ApiRequest } from '../exchange.ts'
import { badRequest, StatusError } from '../status.ts'

/** What a connection becomes, and the headers that say so. */
export interface Negotiated {
  readonly transport: 'websocket' | 'spdy'
  /** Empty where the client asked for none. */
  readonly protocol: string
  readonly headers: Readonly<Record<string, string>>
}

/** Protocols a subresource speaks, the best first. */
export interface Offer {
  readonly webSocket: readonly string[]
  readonly spdy: readonly string[]
}

/** Chooses what to speak; throws 400 for requests that upgrade to nothing served here, 403 when no protocol is shared. */
export function negotiateUpgrade(request: ApiRequest, offer: Offer): Negotiated {
  const { headers } = request
  const connection = (headers['connection'] ?? '').toLowerCase()
  if (request.isUpgrade !== true || !connection.includes('upgrade')) throw badRequest('Upgrade request required')
  const wanted = (headers['upgrade'] ?? '').toLowerCase()
  if (wanted === 'websocket') return negotiateWebSocket(request, offer.webSocket)
  if (wanted === 'spdy/3.1') return negotiateSpdy(request, offer.spdy)
  throw badRequest(`unable to upgrade: missing upgrade headers in request: Upgrade: ${headers['upgrade'] ?? ''}`)
}

function negotiateWebSocket({ headers, method }: ApiRequest, served: readonly string[]): Negotiated {
  const key = headers['sec-websocket-key'] ?? ''
  if (method !== 'GET') throw badRequest('unable to upgrade: a WebSocket begins with GET')
  if (headers['sec-websocket-version'] !== '13') throw badRequest('unable to upgrade: websocket: unsupported version')
  if (Buffer.from(key, 'base64').length !== 16) throw badRequest('unable to upgrade: websocket: bad Sec-WebSocket-Key')
  const asked = listOf(headers['sec-websocket-protocol'])
  const protocol = asked.length === 0 ? '' : asked.find((name) => served.includes(name))
  if (protocol === undefined) throw refuse(asked, served)
  return {
    transport: 'websocket',
    protocol,
    headers: {
      upgrade: 'websocket',
      connection: 'Upgrade',
      'sec-websocket-accept': acceptKey(key),
      ...(protocol === '' ? {} : { 'sec-websocket-protocol': protocol }),
    },
  }
}

function negotiateSpdy({ headers }: ApiRequest, served: readonly string[]): Negotiated {
  const asked = listOf(headers['x-stream-protocol-version'])
  const protocol = asked.length === 0 ? '' : asked.find((name) => served.includes(name))
  if (protocol === undefined) throw refuse(asked, served)
  const spoken = protocol === '' ? {} : { 'x-stream-protocol-version': protocol }
  return { transport: 'spdy', protocol, headers: { connection: 'Upgrade', upgrade: 'SPDY/3.1', ...spoken } }
}

function refuse(asked: readonly string[], served: readonly string[]): StatusError {
  const why = `client supports [${asked.join(' ')}], server accepts [${served.join(' ')}]`
  return new StatusError(403, 'Forbidden', `unable to upgrade: unable to negotiate protocol: ${why}`)
}

function listOf(header: string | undefined): string[] {
  return (header ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
}
