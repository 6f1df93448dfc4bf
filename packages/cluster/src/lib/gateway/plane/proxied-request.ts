import type { Candidate } from './balance.ts'
import { countOutcome } from './balance.ts'
import { permissionAt } from './access.ts'
import { SilentClient } from './body.ts'
import { answer, cut, writeChunk, writeHead } from './answers.ts'
import type { LiveCluster } from './clusters.ts'
import { nextCandidate } from './clusters.ts'
import { returnedHeaders } from './headers.ts'
import type { Incoming, IncomingFacts, Outgoing } from './incoming.ts'
import { isGrpc } from './incoming.ts'
import { backoffOf, defaultRetry, isRetryable } from './retry.ts'
import { changeHeaders } from './rewrite.ts'
import { noteServed } from './served.ts'
import type { ListenerState, PlaneContext } from './route-state.ts'
import type { HeaderChange, RetryPolicy, Rule } from '../model.ts'
import type { HeaderMap, Sending, UpstreamHandler, UpstreamRequest } from './upstream.ts'

/** A request with everything decided but the endpoint. */
export interface Plan {
  readonly rule: Rule
  readonly live: LiveCluster
  readonly request: UpstreamRequest
  /** Of the rule, then of the target. */
  readonly responseChanges: readonly (HeaderChange | undefined)[]
  /** Added to the answer, such as those of CORS and a sticky cookie. */
  readonly responseHeaders: Record<string, string | string[]>
  readonly hash: string | undefined
  readonly startedAt: number
}

/** An answer that is to be replaced by that of another attempt may take so long to end. */
const skippingMs = 1_000

/**
 * One request on its way: attempts at endpoints, the answer passed back as it comes, and the end of both when either side
 * goes. Made per request and told of events by method, so that a request costs no closures but one for the client that goes.
 */
export class ProxiedRequest implements UpstreamHandler {
  readonly #context: PlaneContext
  readonly #plan: Plan
  readonly #listener: ListenerState
  readonly #facts: IncomingFacts
  readonly #incoming: Incoming
  readonly #response: Outgoing
  readonly #policy: RetryPolicy
  #sending: Sending | undefined
  #candidate: Candidate | undefined
  #tried: Set<Candidate> | undefined
  #attempts = 0
  #started = 0
  #isActive = false
  #isSent = false
  #isSkipping = false
  #isOver = false
  #isPaused = false
  #deadline: NodeJS.Timeout | undefined
  #tryDeadline: NodeJS.Timeout | undefined

  constructor(
    context: PlaneContext,
    listener: ListenerState,
    plan: Plan,
    facts: IncomingFacts,
    incoming: Incoming,
    response: Outgoing,
  ) {
    this.#context = context
    this.#listener = listener
    this.#plan = plan
    this.#facts = facts
    this.#incoming = incoming
    this.#response = response
    this.#policy = plan.rule.retry ?? defaultRetry
  }

  start(): void {
    const { live, rule, startedAt } = this.#plan
    live.load.active++
    this.#response.on('close', () => this.#leave())
    if (this.#response.destroyed) return this.#leave()
    if (rule.timeoutMs !== undefined) {
      const left = Math.max(rule.timeoutMs - (performance.now() - startedAt), 0)
      this.#deadline = setTimeout(() => this.#expire(), left)
    }
    this.#attempt()
  }

  #attempt(): void {
    if (this.#isOver) return
    const { live, request } = this.#plan
    const permits = permissionAt(this.#context.access, this.#facts.source, this.#listener)
    const { random } = this.#context
    const candidate = nextCandidate(live, { hash: this.#plan.hash, tried: this.#tried, random, permits })
    if (candidate === undefined) return this.#fail(503, whyNone(live))
    this.#candidate = candidate
    this.#isSent = this.#isSkipping = false
    candidate.state.active++
    this.#isActive = true
    const number = ++this.#started
    const perTry = this.#policy.perTryTimeoutMs
    if (perTry !== undefined) this.#tryDeadline = setTimeout(() => this.#sending?.abort(new TryTimeout()), perTry)
    const sending = this.#context.clusters.connectionsTo(candidate, live.cluster).send(request, this)
    // It may have failed already, and have been followed by another.
    if (this.#isActive && number === this.#started) this.#sending = sending
  }

  onSend(): void {
    this.#isSent = true
  }

  onHead(status: number, headers: HeaderMap, isWhole = false): void {
    clearTimeout(this.#tryDeadline)
    if (this.#isOver || this.#isSkipping) return
    this.#countEndpoint(status)
    if (this.#mayRepeat({ status })) {
      // The answer is read to its end so that the connection stays of use, unless that takes long.
      this.#isSkipping = true
      this.#tryDeadline = setTimeout(() => this.#sending?.abort(new Error('the answer does not end')), skippingMs)
      return
    }
    const kept = returnedHeaders(headers)
    for (const change of this.#plan.responseChanges) changeHeaders(kept, change)
    Object.assign(kept, this.#plan.responseHeaders)
    if (this.#listener.isClosing && !('stream' in this.#response)) kept['connection'] = 'close'
    try {
      writeHead(this.#response, status, kept, { isWhole })
    } catch (error) {
      // What a route or an endpoint made of the head cannot be sent.
      this.#context.onError?.(error)
      this.#fail(502, 'the answer has a head that cannot be sent')
      this.#sending?.abort(new Error('the head cannot be sent'))
    }
  }

  onData(chunk: Buffer): boolean {
    if (this.#isSkipping) return true
    if (this.#isOver) return false
    if (writeChunk(this.#response, chunk)) return true
    if (!this.#isPaused) {
      this.#isPaused = true
      this.#tryDeadline = setTimeout(() => this.#stall(), this.#context.idleTimeoutMs)
      this.#response.once('drain', () => {
        clearTimeout(this.#tryDeadline)
        this.#isPaused = false
        this.#sending?.resume()
      })
    }
    return false
  }

  onEnd(trailers: HeaderMap | undefined): void {
    this.#release()
    if (this.#isOver) return
    if (this.#isSkipping) return this.#repeat()
    if (trailers !== undefined) this.#response.addTrailers(trailers)
    this.#finish(this.#response.statusCode)
    this.#response.end()
  }

  onError(error: Error): void {
    this.#release()
    if (this.#isOver) return
    if (this.#response.headersSent) {
      this.#finish(this.#response.statusCode)
      return cut(this.#response)
    }
    if (this.#isSkipping) return this.#repeat()
    if (error instanceof SilentClient) return this.#fail(408, error.message)
    this.#countEndpoint(undefined)
    const isUnsent = !this.#isSent || codeOf(error) === 'REFUSED_STREAM'
    // Too slow is what a 504 would be (Envoy).
    if (this.#mayRepeat(error instanceof TryTimeout ? { status: 504 } : { isUnsent })) return this.#repeat()
    if (error instanceof TryTimeout || isTimeout(error)) return this.#fail(504, 'the endpoint did not answer in time')
    if (isUnsent) return this.#fail(503, whyUnsent(this.#plan.live, error))
    this.#fail(502, `the endpoint of ${this.#plan.live.cluster.key} ended the connection without an answer`)
  }

  #mayRepeat({ status, isUnsent = false }: { status?: number; isUnsent?: boolean }): boolean {
    const { method, body } = this.#plan.request
    if (this.#attempts >= this.#policy.attempts) return false
    // A stream that was begun cannot be sent again.
    if (body !== null && !Buffer.isBuffer(body) && (this.#isSent || body.isBegun)) return false
    return isRetryable(this.#policy, { method, isUnsent, status })
  }

  #repeat(): void {
    this.#attempts++
    if (this.#candidate !== undefined) (this.#tried ??= new Set()).add(this.#candidate)
    const delay = backoffOf(this.#policy, this.#attempts, this.#context.random)
    if (delay === 0) this.#attempt()
    else setTimeout(() => this.#attempt(), delay)
  }

  #countEndpoint(status: number | undefined): void {
    const { cluster, candidates } = this.#plan.live
    if (cluster.policy.outliers === undefined || this.#candidate === undefined) return
    countOutcome(this.#candidate.state, status, { cluster, others: candidates, now: Date.now() })
  }

  /** The attempt is over, however it went. */
  #release(): void {
    clearTimeout(this.#tryDeadline)
    this.#sending = undefined
    if (!this.#isActive) return
    this.#isActive = false
    if (this.#candidate !== undefined) this.#candidate.state.active--
  }

  #expire(): void {
    if (this.#isOver) return
    if (this.#response.headersSent) {
      this.#finish(this.#response.statusCode)
      cut(this.#response)
    } else this.#fail(504, `no answer within ${this.#plan.rule.timeoutMs} ms`)
    this.#sending?.abort(new Error('the request took too long'))
  }

  /** The client takes nothing of its answer. */
  #stall(): void {
    if (this.#isOver) return
    this.#finish(this.#response.statusCode)
    cut(this.#response)
    this.#sending?.abort(new Error('the client takes no more'))
  }

  #fail(status: number, text: string): void {
    this.#finish(status)
    answer(this.#response, status, { text, isGrpc: isGrpc(this.#facts), headers: this.#plan.responseHeaders })
    // What the client still sends has nowhere to go.
    this.#incoming.resume()
  }

  /** The client went away before the end. */
  #leave(): void {
    if (this.#isOver) return
    this.#finish(0)
    this.#sending?.abort(new Error('the client went away'))
  }

  #finish(status: number): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#deadline)
    clearTimeout(this.#tryDeadline)
    const { live, rule, startedAt } = this.#plan
    live.load.active--
    noteServed(this.#context, {
      facts: this.#facts,
      route: rule.route,
      cluster: live.cluster,
      endpoint: this.#candidate?.endpoint,
      isGrpc: isGrpc(this.#facts),
      status,
      durationMs: performance.now() - startedAt,
    })
  }
}

function whyUnsent({ cluster }: LiveCluster, error: Error): string {
  const reason = cluster.tls === undefined ? '' : `: ${error.message}`
  return `no endpoint of ${cluster.key} takes connections${reason}`
}

function whyNone({ cluster, candidates }: LiveCluster): string {
  if (candidates.length === 0) return `no endpoint of ${cluster.key} is ready`
  return `no endpoint of ${cluster.key} may be reached from here by the NetworkPolicies of the cluster`
}

class TryTimeout extends Error {}

function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : ''
}

function isTimeout(error: Error): boolean {
  return ['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'].includes(codeOf(error))
}
