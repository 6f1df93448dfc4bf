import { createHash, randomUUID } from 'node:crypto'
import type { Balance, CorsPolicy, Mirror, WeightedTarget } from '../model.ts'
import { permissionAt } from './access.ts'
import { answer } from './answers.ts'
import { readBody } from './body.ts'
import type { LiveCluster } from './clusters.ts'
import { corsHeaders, isPreflight, preflightHeaders } from './cors.ts'
import { faultOf } from './faults.ts'
import type { RequestFault } from './faults.ts'
import { forwardedHeaders } from './headers.ts'
import { hasBody, IncomingFacts, isGrpc } from './incoming.ts'
import type { Incoming, Outgoing } from './incoming.ts'
import { queryValue } from './match.ts'
import type { Found } from './match.ts'
import { mirrorTo } from './mirror.ts'
import { ProxiedRequest } from './proxied-request.ts'
import { changeHeaders, renderLocation, targetOf } from './rewrite.ts'
import type { ListenerState, PlaneContext } from './route-state.ts'
import { noteServed } from './served.ts'
import type { HeaderMap, UpstreamRequest } from './upstream.ts'

/** Bodies up to this are read whole before they are sent, so that they can be sent again. */
const replayableBytes = 64 * 1024
const mirroredBytes = 1024 * 1024

/** Answers one request by the routing in force now. */
export function serve(context: PlaneContext, listener: ListenerState, incoming: Incoming, response: Outgoing): void {
  const startedAt = performance.now()
  incoming.on('error', () => {})
  response.on('error', () => {})
  const facts = new IncomingFacts(incoming, listener.scheme, context.access)
  facts.trace = context.observers?.tracing?.join(incoming.headers)
  const fault = faultOf(incoming, facts)
  if (fault !== undefined) return refuse(context, { facts, incoming, response }, fault)
  const found = listener.find(facts)
  // Clients of a listener that goes have to find another.
  if (listener.isClosing && 'shouldKeepAlive' in response) response.shouldKeepAlive = false
  if (found === undefined) {
    return refuse(context, { facts, incoming, response }, { status: 404, text: 'no route matches the request' })
  }
  const { chooseTarget } = listener
  const delay = found.rule.fault?.delay
  const exchange: Exchange = { context, listener, incoming, response, facts, found, startedAt, chooseTarget }
  if (delay === undefined || !happens(context, delay.percent)) attempt(exchange, perform)
  else setTimeout(() => attempt(exchange, perform), delay.ms)
}

/** Answers what no route is asked about. */
function refuse(
  context: PlaneContext,
  { facts, incoming, response }: { facts: IncomingFacts; incoming: Incoming; response: Outgoing },
  { status, text }: RequestFault,
): void {
  const ofGrpc = isGrpc(facts)
  noteServed(context, { facts, route: 'none', isGrpc: ofGrpc, status, durationMs: 0 })
  // Where the next request begins is a matter of opinion, too.
  if (status !== 404 && 'shouldKeepAlive' in response) response.shouldKeepAlive = false
  answer(response, status, { text, isGrpc: ofGrpc })
  incoming.resume()
}

/** What goes wrong with one request is not to end the process that serves the others. */
function attempt(exchange: Exchange, act: (exchange: Exchange) => void): void {
  try {
    act(exchange)
  } catch (error) {
    exchange.context.onError?.(error)
    settle(exchange, 500, 'the request cannot be served')
  }
}

interface Exchange {
  readonly context: PlaneContext
  readonly listener: ListenerState
  readonly incoming: Incoming
  readonly response: Outgoing
  readonly facts: IncomingFacts
  readonly found: Found
  readonly startedAt: number
  /** Of the rules that were in force at its arrival. */
  readonly chooseTarget: ListenerState['chooseTarget']
}

/** What a rule decides without an endpoint, else the way to one. */
function perform(exchange: Exchange): void {
  const { context, facts, found } = exchange
  const { rule, match } = found
  const cors = corsHeaders(rule.cors, facts)
  if (cors !== undefined && isPreflight(facts)) {
    return settle(exchange, 200, '', { ...cors, ...preflightHeaders(rule.cors as CorsPolicy) })
  }
  const abort = rule.fault?.abort
  if (abort !== undefined && happens(context, abort.percent)) {
    return settle(exchange, abort.status, 'fault filter abort', {}, abort.grpcStatus)
  }
  const { action } = rule
  if (action.kind === 'respond') return settle(exchange, action.status, action.body ?? '', { ...cors })
  if (action.kind === 'redirect') {
    const { method, authority, host, path, query, scheme } = facts
    const seen = { method, authority, host, path, query, scheme, port: exchange.listener.port }
    const location = renderLocation(action.redirect, seen, match)
    return settle(exchange, action.redirect.status, '', { ...cors, location })
  }
  const index = exchange.chooseTarget(rule)
  const target = index === undefined ? undefined : action.targets[index]
  const live = target?.cluster === undefined ? undefined : exchange.listener.cluster(target.cluster)
  if (target === undefined || live === undefined)
    return settle(exchange, 500, 'the route has no backend that exists', { ...cors })
  const { maxRequests } = live.cluster.policy
  if (maxRequests !== undefined && live.load.active >= maxRequests) {
    return settle(exchange, 503, `${live.cluster.key} has as many requests as it may`, {
      ...cors,
      'x-envoy-overloaded': 'true',
    })
  }
  forward(exchange, target, live, { ...cors })
}

/** Answers by ourselves, and counts it. */
function settle(exchange: Exchange, status: number, text: string, headers: HeaderMap = {}, grpcStatus?: number): void {
  const { context, found, facts, incoming, response, startedAt } = exchange
  const { rule } = found
  changeHeaders(headers, rule.responseHeaders)
  const ofGrpc = isGrpc(facts)
  const sent = answer(response, status, { text, headers, isGrpc: ofGrpc && status >= 400, grpcStatus })
  const durationMs = performance.now() - startedAt
  noteServed(context, { facts, route: rule.route, isGrpc: ofGrpc, status: sent, durationMs })
  incoming.resume()
}

function forward(exchange: Exchange, target: WeightedTarget, live: LiveCluster, responseHeaders: HeaderMap): void {
  const { context, incoming, response, facts, found, listener } = exchange
  const { rule } = found
  const headers = forwardedHeaders(incoming, facts, listener)
  if (facts.trace !== undefined) context.observers?.tracing?.inject(facts.trace, headers)
  changeHeaders(headers, rule.requestHeaders)
  changeHeaders(headers, target.requestHeaders)
  if (rule.rewrite?.host !== undefined) {
    headers['x-envoy-original-host'] = facts.authority
    headers['host'] = rule.rewrite.host
  }
  const path = targetOf(facts, found)
  if (path === undefined) return settle(exchange, 400, 'the path cannot be rewritten')
  const { method } = facts
  const proxied = (request: UpstreamRequest): void => {
    for (const mirror of rule.mirrors ?? []) copyTo(exchange, mirror, request)
    const hash = hashOf(live.cluster.policy.balance, facts, responseHeaders)
    const responseChanges = [rule.responseHeaders, target.responseHeaders]
    const plan = { rule, live, request, responseChanges, responseHeaders, hash, startedAt: exchange.startedAt }
    new ProxiedRequest(context, listener, plan, facts, incoming, response).start()
  }
  if (!hasBody(incoming)) return proxied({ method, path, headers, body: null })
  const limit = rule.mirrors === undefined ? replayableBytes : mirroredBytes
  const silence = { silenceMs: context.idleTimeoutMs, isExpected: () => response.headersSent || isGrpc(facts) }
  const late = (): void => settle(exchange, 408, 'the body of the request does not come')
  readBody(incoming, { limit, late, ...silence }, (body) => {
    attempt(exchange, () => proxied({ method, path, headers, body }))
  })
}

function copyTo({ context, listener, facts }: Exchange, mirror: Mirror, request: UpstreamRequest): void {
  const live = mirror.cluster === undefined ? undefined : listener.cluster(mirror.cluster)
  if (live !== undefined && happens(context, mirror.percent))
    mirrorTo(context, live, request, permissionAt(context.access, facts.source, listener))
}

function happens({ random }: PlaneContext, percent: number): boolean {
  return percent >= 100 || random() * 100 < percent
}

/** What a sticky client is told apart by; a client without the cookie is given one. */
function hashOf(balance: Balance, facts: IncomingFacts, responseHeaders: HeaderMap): string | undefined {
  if (balance.kind !== 'hash') return undefined
  if (balance.by === 'source') return facts.source
  if (balance.by === 'header') return facts.header(balance.name.toLowerCase())
  if (balance.by === 'query') return queryValue(facts.query, balance.name)
  const cookies = (facts.header('cookie') ?? '').split(';').map((text) => text.trim())
  const known = cookies.find((text) => text.startsWith(`${balance.name}=`))?.slice(balance.name.length + 1)
  if (known !== undefined || balance.ttlSeconds === undefined) return known
  const made = createHash('sha1').update(randomUUID()).digest('hex').slice(0, 16)
  const age = balance.ttlSeconds > 0 ? `; Max-Age=${balance.ttlSeconds}` : ''
  responseHeaders['set-cookie'] = `${balance.name}=${made}; Path=/; HttpOnly${age}`
  return made
}
