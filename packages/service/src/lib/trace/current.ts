import { AsyncLocalStorage } from 'node:async_hooks'
import type { IncomingHttpHeaders } from 'node:http'
import { callerTimeoutMs, expectedTimeoutHeader } from '../mesh/deadline.ts'
import { meshHeaders } from '../mesh/headers.ts'
import type { MeshSettings } from '../mesh/settings.ts'
import { isBaggageHeader, parseBaggage, renderBaggage } from './baggage.ts'
import type { Baggage } from './baggage.ts'
import { randomUuid } from './ids.ts'
import type { Propagation } from './propagation.ts'
import { renderTraceparent } from './traceparent.ts'
import type { TraceContext } from './traceparent.ts'

/** What ties work to the request it is done for. */
export interface RequestScope {
  readonly requestId: string
  readonly trace: TraceContext
  /** Headers of the request as node has them, for whoever computes more from them: baggage, mesh headers, a deadline. */
  readonly incoming?: IncomingHttpHeaders | undefined
  /** When the request began, on the clock of `performance.now()`. */
  readonly startedAt?: number | undefined
  /** What calls made for this request pass on, and whether a mesh retries them. */
  readonly mesh?: MeshSettings | undefined
  /** Belongs to the tracer: the span of this request, once somebody has asked for it. */
  span?: unknown
}

/** Work that belongs to no request, but to a context of the OpenTelemetry API. */
export class DetachedScope {
  readonly context: unknown
  constructor(context: unknown) {
    this.context = context
  }
}

/** A request's scope with something changed for a part of its work: the span, the baggage, the OpenTelemetry context. */
export class DerivedScope implements RequestScope {
  readonly trace: TraceContext
  readonly baggage: Baggage | undefined
  /** Of the OpenTelemetry bridge. */
  readonly context: unknown
  readonly #base: RequestScope | undefined
  #requestId: string | undefined
  #span: unknown

  constructor(
    base: RequestScope | undefined,
    change: {
      readonly trace: TraceContext
      readonly span?: unknown
      readonly baggage?: Baggage | undefined
      readonly context?: unknown
    },
  ) {
    this.#base = base
    this.trace = change.trace
    this.#span = change.span
    this.baggage = change.baggage ?? (base instanceof DerivedScope ? base.baggage : undefined)
    this.context = change.context
  }

  /** Work outside of a request gets an id of its own, so that its calls can be found again. */
  get requestId(): string {
    return this.#base?.requestId ?? (this.#requestId ??= randomUuid())
  }

  /** Where it is the same as the request's, that is asked for there. */
  get span(): unknown {
    return this.#span ?? (this.#isSameSpan() ? this.#base?.span : undefined)
  }

  set span(span: unknown) {
    if (this.#isSameSpan() && this.#base !== undefined) this.#base.span = span
    else this.#span = span
  }

  #isSameSpan(): boolean {
    return this.#base !== undefined && this.#base.trace === this.trace
  }

  get incoming(): IncomingHttpHeaders | undefined {
    return this.#base?.incoming
  }

  get startedAt(): number | undefined {
    return this.#base?.startedAt
  }

  get mesh(): MeshSettings | undefined {
    return this.#base?.mesh
  }
}

const storage = new AsyncLocalStorage<RequestScope | DetachedScope | undefined>()

/** Runs `work`, and everything it starts, on behalf of a request. */
export function runInScope<T>(scope: RequestScope, work: () => T): T {
  return storage.run(scope, work)
}

/** Runs `work` on behalf of nobody: its calls carry no trace. */
export function runOutOfScope<T>(work: () => T): T {
  return storage.run(undefined, work)
}

/** The request this code is running for, if any. */
export function currentScope(): RequestScope | undefined {
  const scope = storage.getStore()
  return scope instanceof DetachedScope ? undefined : scope
}

/** Of the OpenTelemetry bridge: the scope, or the context without one. */
export function currentStore(): RequestScope | DetachedScope | undefined {
  return storage.getStore()
}

/** For a bridge that is told where a context ends: what runs after this in the same turn runs for `store`. */
export function enterStore(store: RequestScope | DetachedScope | undefined): void {
  storage.enterWith(store)
}

export function runInDetached<T>(scope: DetachedScope, work: () => T): T {
  return storage.run(scope, work)
}

/**
 * The baggage of the current request: what its caller sent, or what {@link withBaggage} made of it. Empty outside of one.
 */
export function currentBaggage(): Baggage {
  const scope = currentScope()
  if (scope === undefined) return new Map()
  if (scope instanceof DerivedScope && scope.baggage !== undefined) return scope.baggage
  return parseBaggage(scope.incoming?.['baggage'])
}

/** Runs `work` with more in the baggage of the current request, which outgoing calls carry; undefined takes a key out. */
export function withBaggage<T>(entries: Readonly<Record<string, string | undefined>>, work: () => T): T {
  const scope = currentScope()
  if (scope === undefined) return work()
  const baggage = new Map(currentBaggage())
  for (const [key, value] of Object.entries(entries)) {
    if (value === undefined) baggage.delete(key)
    else baggage.set(key, { value })
  }
  return runInScope(new DerivedScope(scope, { trace: scope.trace, baggage }), work)
}

/**
 * Headers that make an outgoing call part of the current request: its trace, its id, what a mesh or the business wants passed
 * on, and how long the caller still waits. Empty outside of a request.
 */
export function propagationHeaders(): Record<string, string> {
  const scope = currentScope()
  return scope === undefined ? {} : scopeHeaders(scope, scope.trace)
}

/** Those of a call that is made as `trace`, a part of the scope's. */
export function scopeHeaders(scope: RequestScope, trace: TraceContext): Record<string, string> {
  const { incoming, startedAt } = scope
  const headers = incoming === undefined ? {} : meshHeaders(incoming, scope.mesh)
  setTraceHeaders(headers, scope, trace)
  headers['x-request-id'] = scope.requestId
  const timeoutMs = incoming && callerTimeoutMs(incoming)
  if (timeoutMs !== undefined && startedAt !== undefined) {
    // 0 would mean no limit.
    const leftMs = Math.max(1, Math.floor(startedAt + timeoutMs - performance.now()))
    headers[expectedTimeoutHeader] = String(leftMs)
  }
  return headers
}

function setTraceHeaders(headers: Record<string, string>, scope: RequestScope, trace: TraceContext): void {
  const propagation = trace instanceof LocalTrace ? trace.propagation : undefined
  if (propagation === undefined) {
    headers['traceparent'] = renderTraceparent(trace)
    if (trace.state !== undefined) headers['tracestate'] = trace.state
  } else {
    // What the mesh copied names the caller's span, which we are not.
    for (const name of propagation.replaces) delete headers[name]
    propagation.inject(trace, headers)
  }
  if (propagation !== undefined && !propagation.hasBaggage) return
  const baggage = baggageHeader(scope)
  if (baggage !== undefined) headers['baggage'] = baggage
}

/** A trace of this process, which knows how it is handed on. */
export abstract class LocalTrace implements TraceContext {
  abstract readonly traceId: string
  abstract readonly spanId: string
  abstract readonly isSampled: boolean
  abstract readonly propagation: Propagation
}

/** As it came where it may go on as it is; what is longer than allowed is cut at an entry. */
function baggageHeader(scope: RequestScope): string | undefined {
  if (scope instanceof DerivedScope && scope.baggage !== undefined) return renderBaggage(scope.baggage) || undefined
  const incoming = scope.incoming?.['baggage']
  if (incoming === undefined) return undefined
  if (typeof incoming === 'string' && isBaggageHeader(incoming)) return incoming
  return renderBaggage(parseBaggage(incoming)) || undefined
}
