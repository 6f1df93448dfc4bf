import type { ClientRequest, ClientRequestArgs, IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import type { UpstreamTls, WeightedTarget } from '../model.ts'
import { permissionAt } from './access.ts'
import type { Candidate } from './balance.ts'
import { nextCandidate } from './clusters.ts'
import type { LiveCluster } from './clusters.ts'
import { forwardedHeaders, returnedHeaders } from './headers.ts'
import { faultOf } from './faults.ts'
import { IncomingFacts } from './incoming.ts'
import type { Found } from './match.ts'
import { changeHeaders, targetOf } from './rewrite.ts'
import type { ListenerState, PlaneContext } from './route-state.ts'
import { noteServed } from './served.ts'
import { tlsOptions } from './upstream-tls.ts'
import { headersTimeoutMs } from './upstream.ts'
import type { HeaderMap } from './upstream.ts'

// An import would bring all of fetch along: see scripts/check-imports.ts.
const { request: sendRequest } = process.getBuiltinModule('node:http')

/** A request to change the protocol (WebSocket) on its way to an endpoint. */
interface Upgrade {
  readonly context: PlaneContext
  readonly listener: ListenerState
  readonly incoming: IncomingMessage
  readonly client: Duplex
  readonly facts: IncomingFacts
  readonly found: Found
  readonly target: WeightedTarget
  readonly live: LiveCluster
  readonly candidate: Candidate
  readonly startedAt: number
}

/** Passes on a request to change the protocol, then the bytes of both sides until either ends. */
export function upgrade(
  context: PlaneContext,
  listener: ListenerState,
  incoming: IncomingMessage,
  client: Duplex,
  head: Buffer,
): void {
  client.on('error', () => {})
  try {
    const decided = decide(context, listener, incoming, client)
    if (typeof decided === 'number') return refuse(client, decided)
    const path = targetOf(decided.facts, decided.found)
    if (path === undefined) return refuse(client, 400)
    pass(decided, send(decided, path), head)
  } catch (error) {
    // What a route made of the request cannot be sent.
    context.onError?.(error)
    refuse(client, 500)
  }
}

/** Where it goes, or the status that refuses it. */
function decide(
  context: PlaneContext,
  listener: ListenerState,
  incoming: IncomingMessage,
  client: Duplex,
): Upgrade | number {
  const startedAt = performance.now()
  const facts = new IncomingFacts(incoming, listener.scheme, context.access)
  const found = listener.find(facts)
  facts.trace = context.observers?.tracing?.join(incoming.headers)
  const fault = faultOf(incoming, facts)
  if (fault !== undefined) return fault.status
  if (found === undefined) return 404
  const { action } = found.rule
  if (action.kind !== 'forward') return 400
  const target = action.targets[listener.chooseTarget(found.rule) ?? -1]
  const live = target?.cluster === undefined ? undefined : listener.cluster(target.cluster)
  if (target === undefined || live === undefined) return 500
  const permits = permissionAt(context.access, facts.source, listener)
  const candidate = nextCandidate(live, { hash: undefined, tried: undefined, random: context.random, permits })
  if (candidate === undefined) return 503
  return { context, listener, incoming, client, facts, found, target, live, candidate, startedAt }
}

function send(
  { context, listener, incoming, facts, found, target, live, candidate }: Upgrade,
  path: string,
): ClientRequest {
  const { rule } = found
  const headers = forwardedHeaders(incoming, facts, listener)
  if (facts.trace !== undefined) context.observers?.tracing?.inject(facts.trace, headers)
  changeHeaders(headers, rule.requestHeaders)
  changeHeaders(headers, target.requestHeaders)
  if (rule.rewrite?.host !== undefined) headers['host'] = rule.rewrite.host
  Object.assign(headers, { connection: 'Upgrade', upgrade: incoming.headers.upgrade ?? '' })
  const { ip, port } = candidate.endpoint
  const timeout = live.cluster.policy.connectTimeoutMs
  const { tls } = live.cluster
  const connection = tls === undefined ? { agent: false } : { createConnection: connectSecurely(tls) }
  const sent = sendRequest({ host: ip, port, method: facts.method, path, headers, timeout, ...connection })
  sent.once('timeout', () => sent.destroy(new Error('the endpoint did not answer in time')))
  // Who has a connection may think about the answer for longer.
  sent.once('socket', (socket) =>
    socket.once(tls === undefined ? 'connect' : 'secureConnect', () => sent.setTimeout(headersTimeoutMs)),
  )
  return sent
}

function connectSecurely(tls: UpstreamTls): NonNullable<ClientRequestArgs['createConnection']> {
  return ({ host, port }) => connectTls({ ...tlsOptions(tls), host: host ?? '', port: Number(port) })
}

function pass(upgrade: Upgrade, sent: ClientRequest, head: Buffer): void {
  const { client, found } = upgrade
  client.once('close', () => sent.destroy())
  sent.once('error', () => {
    if (client.destroyed) return
    count(upgrade, 502)
    refuse(client, 502)
  })
  sent.once('upgrade', (answered, server, rest) => {
    sent.removeAllListeners('timeout')
    if (!client.destroyed) count(upgrade, 101)
    server.setTimeout(0)
    server.setNoDelay(true)
    const own: HeaderMap = returnedHeaders({ ...answered.headers } as HeaderMap)
    changeHeaders(own, found.rule.responseHeaders)
    const agreed = { connection: 'Upgrade', upgrade: answered.headers.upgrade ?? '' }
    client.write(renderHead(101, 'Switching Protocols', { ...own, ...agreed }))
    if (rest.length > 0) client.write(rest)
    if (head.length > 0) server.write(head)
    // Two pipelines and the server of the connection listen to it: more than the ten that are taken for a leak.
    for (const socket of [client, server]) socket.setMaxListeners(0)
    pipeline(client, server, () => {})
    pipeline(server, client, () => {})
  })
  sent.once('response', (answered) => {
    const { statusCode = 502, statusMessage = '' } = answered
    count(upgrade, statusCode)
    const own = returnedHeaders({ ...answered.headers } as HeaderMap)
    // Its length may have been told by the end of chunks that are taken apart here.
    client.write(renderHead(statusCode, statusMessage, { ...own, connection: 'close' }))
    pipeline(answered, client, () => {})
  })
  sent.end()
}

function count({ context, facts, found, live, candidate, startedAt }: Upgrade, status: number): void {
  noteServed(context, {
    facts,
    route: found.rule.route,
    cluster: live.cluster,
    endpoint: candidate.endpoint,
    isGrpc: false,
    status,
    durationMs: performance.now() - startedAt,
  })
}

const reasons: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
}

/** Ends a connection with the answer to a request that is not served on it. */
export function refuse(client: Duplex, status: number): void {
  client.on('error', () => {})
  if (client.destroyed) return
  client.end(renderHead(status, reasons[status] ?? '', { connection: 'close', 'content-length': '0' }))
}

function renderHead(status: number, reason: string, headers: HeaderMap): string {
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) => `${name}: ${one}`),
  )
  return `HTTP/1.1 ${status} ${reason}\r\n${lines.join('\r\n')}\r\n\r\n`
}
