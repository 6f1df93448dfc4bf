import type { IncomingHttpHeaders } from 'node:http'
import { epochMs, toEpochMs } from './clock.ts'
import { currentScope, DerivedScope, LocalTrace, runInScope } from './current.ts'
import type { RequestScope } from './current.ts'
import { randomHex } from './ids.ts'
import { defaultLimits } from './limits.ts'
import type { SpanLimits } from './limits.ts'
import { createPropagation } from './propagation.ts'
import type { Propagation } from './propagation.ts'
import { createSampler } from './sampler.ts'
import type { Sampler } from './sampler.ts'
import { RecordedSpan, spanKind, spanStatus } from './span.ts'
import type { Attributes, InstrumentationScope, Span, SpanKindName, SpanSink } from './span.ts'
import type { TraceContext } from './traceparent.ts'

export interface TracerOptions {
  /** Where finished spans go. Without one nothing is recorded, and traces are handed on all the same. */
  readonly sink?: SpanSink | undefined
  /** Default: what the caller says, and every trace that begins here. */
  readonly sampler?: Sampler | undefined
  /** Default: W3C trace context and baggage. */
  readonly propagation?: Propagation | undefined
  readonly limits?: SpanLimits | undefined
}

export interface SpanOptions {
  /** Default `internal`. */
  readonly kind?: SpanKindName | undefined
  readonly attributes?: Attributes | undefined
  /** The span it is a part of. Default: the current scope's; `null` begins a trace. */
  readonly parent?: TraceContext | null | undefined
  /** Default: `fairlead`. */
  readonly scope?: InstrumentationScope | undefined
  /** Milliseconds since the epoch. Default: now. */
  readonly startMs?: number | undefined
}

/** Makes the spans of a service. */
export interface Tracer {
  readonly propagation: Propagation
  /** Joins the trace that a request's headers tell of, or begins one. Never throws. */
  join(headers: IncomingHttpHeaders): TraceContext
  /** A span that its maker ends. It is not the current one for anything: {@link span} is for that. */
  startSpan(name: string, options?: SpanOptions): Span
}

/** What the span of a request is called until its route is known. */
export const unnamed = 'HTTP'

/** Scope of the spans that this package makes itself. */
export const ownScope: InstrumentationScope = { name: 'fairlead' }

/** A tracer of one's own; a service gets one by `startTelemetry`. */
export function createTracer(options: TracerOptions = {}): Tracer {
  return new SpanTracer(options)
}

export class SpanTracer implements Tracer {
  readonly propagation: Propagation
  readonly sink: SpanSink | undefined
  readonly limits: SpanLimits
  readonly #sampler: Sampler

  constructor(options: TracerOptions) {
    this.propagation = options.propagation ?? createPropagation(['tracecontext', 'baggage'])
    this.sink = options.sink
    this.limits = options.limits ?? defaultLimits
    this.#sampler = options.sampler ?? createSampler('parentbased_always_on')
  }

  join(headers: IncomingHttpHeaders): TraceContext {
    const parent = this.propagation.extract(headers)
    if (parent === undefined || !('traceId' in parent)) return this.#begin(parent?.isSampled)
    const isSampled = this.#sampler(parent.traceId, parent.isSampled)
    return new TracerTrace(this, parent.traceId, parent.spanId, isSampled, parent.state, parent.isRandom)
  }

  startSpan(name: string, options: SpanOptions = {}): RecordedSpan {
    const trace = this.child(options.parent === null ? undefined : (options.parent ?? currentScope()?.trace))
    const span = this.open(
      name,
      spanKind[options.kind ?? 'internal'],
      trace,
      options.startMs ?? epochMs(),
      options.scope,
    )
    if (options.attributes) span.setAttributes(options.attributes)
    return span
  }

  /** A part of `parent`, with its decision; the root of a trace without one. */
  child(parent: TraceContext | undefined): TraceContext {
    if (parent === undefined) return this.#begin(undefined)
    return new TracerTrace(this, parent.traceId, parent.spanId, parent.isSampled, parent.state, parent.isRandom)
  }

  /** A part of a span of another process, which the sampler decides on. */
  adopt(parent: TraceContext): TraceContext {
    const isSampled = this.#sampler(parent.traceId, parent.isSampled)
    return new TracerTrace(this, parent.traceId, parent.spanId, isSampled, parent.state, parent.isRandom)
  }

  open(
    name: string,
    kind: number,
    trace: TraceContext,
    startMs: number,
    scope: InstrumentationScope = ownScope,
    isParentRemote = false,
  ): RecordedSpan {
    return new RecordedSpan(name, kind, trace, startMs, { scope, limits: this.limits, sink: this.sink, isParentRemote })
  }

  #begin(callerIsSampled: boolean | undefined): TraceContext {
    const traceId = randomHex(16)
    return new TracerTrace(this, traceId, undefined, this.#sampler(traceId, callerIsSampled), undefined, undefined)
  }
}

class TracerTrace extends LocalTrace {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly isSampled: boolean
  readonly state: string | undefined
  readonly isRandom: boolean | undefined
  readonly #tracer: SpanTracer

  constructor(
    tracer: SpanTracer,
    traceId: string,
    parentSpanId: string | undefined,
    isSampled: boolean,
    state: string | undefined,
    isRandom: boolean | undefined,
  ) {
    super()
    this.traceId = traceId
    this.spanId = randomHex(8)
    this.parentSpanId = parentSpanId
    this.isSampled = isSampled
    this.state = state
    this.isRandom = isRandom
    this.#tracer = tracer
  }

  get propagation(): Propagation {
    return this.#tracer.propagation
  }

  static tracerOf(trace: TraceContext): SpanTracer | undefined {
    return #tracer in trace ? trace.#tracer : undefined
  }
}

/** The tracer that a trace was joined or begun with. */
export function tracerOf(trace: TraceContext): SpanTracer | undefined {
  return TracerTrace.tracerOf(trace)
}

const installed: SpanTracer[] = []

/** Makes `tracer` the one for work outside of requests, until the returned function is called. The last one counts. */
export function installTracer(tracer: Tracer): () => void {
  if (!(tracer instanceof SpanTracer)) throw new TypeError('Cannot install tracer: it was not made by createTracer')
  installed.push(tracer)
  return () => {
    const index = installed.lastIndexOf(tracer)
    if (index !== -1) installed.splice(index, 1)
  }
}

/** The tracer of the current request, else the installed one. */
export function currentTracer(): SpanTracer | undefined {
  const scope = currentScope()
  return (scope && tracerOf(scope.trace)) ?? installed.at(-1)
}

/**
 * The span of the code that is running: the innermost {@link span}, else the request's. Undefined outside of both, and where
 * there is no tracer. It may not be recorded, see {@link Span.isRecording}.
 */
export function currentSpan(): Span | undefined {
  const scope = currentScope()
  return scope && spanOf(scope)
}

/** The span of a scope. That of a request is only made when somebody asks for it. */
export function spanOf(scope: RequestScope): RecordedSpan | undefined {
  if (scope.span instanceof RecordedSpan) return scope.span
  const tracer = tracerOf(scope.trace)
  if (tracer === undefined) return undefined
  const startMs = scope.startedAt === undefined ? epochMs() : toEpochMs(scope.startedAt)
  const isParentRemote = scope.trace.parentSpanId !== undefined
  const span = tracer.open(unnamed, spanKind.server, scope.trace, startMs, ownScope, isParentRemote)
  scope.span = span
  return span
}

/**
 * Times `work` as a part of what is going on: the current request, or the current span. What `work` throws is recorded and makes
 * the span a failed one; it ends when `work` does.
 *
 * ```ts
 * const price = await span('price', { sku }, async (span) => {
 *   const price = await pricing.ask(sku)
 *   span.setAttribute('price.currency', price.currency)
 *   return price
 * })
 * ```
 */
export function span<T>(name: string, work: (span: Span) => T): T
export function span<T>(name: string, attributes: Attributes, work: (span: Span) => T): T
export function span<T>(
  name: string,
  ...rest: readonly [(span: Span) => T] | readonly [Attributes, (span: Span) => T]
): T {
  const [attributes, work] = rest.length === 1 ? [undefined, rest[0]] : rest
  const scope = currentScope()
  const tracer = currentTracer()
  if (tracer === undefined) return work(unrecorded)
  // Nothing of an unsampled trace is ever seen: no ids, no scope.
  if (scope !== undefined && !scope.trace.isSampled) return work(unrecorded)
  const started = tracer.startSpan(name, { attributes })
  return runInScope(new DerivedScope(scope, { trace: started.trace, span: started }), () => settle(started, work))
}

/** Runs `work` and ends its span, whichever way it goes. */
function settle<T>(span: RecordedSpan, work: (span: Span) => T): T {
  let result: T
  try {
    result = work(span)
  } catch (error) {
    fail(span, error)
    throw error
  }
  if (!(result instanceof Promise)) {
    span.end()
    return result
  }
  const settled = result.then(
    (value: unknown) => {
      span.end()
      return value
    },
    (error: unknown) => {
      fail(span, error)
      throw error
    },
  )
  // What `work` promised is what this promises.
  return settled as T
}

function fail(span: RecordedSpan, error: unknown): void {
  span.recordException(error)
  span.setStatus({ code: spanStatus.error, message: error instanceof Error ? error.message : String(error) })
  span.end()
}

/** Stands for every span that is not recorded. */
const unrecorded: Span = new RecordedSpan(
  '',
  spanKind.internal,
  { traceId: '0'.repeat(32), spanId: '0'.repeat(16), isSampled: false },
  0,
  { scope: ownScope, limits: defaultLimits, sink: undefined },
)
