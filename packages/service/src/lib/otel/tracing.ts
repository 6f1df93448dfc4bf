import { context as contextApi, isSpanContextValid, propagation, trace } from '@opentelemetry/api'
import type {
  Context,
  Span,
  SpanOptions,
  TextMapGetter,
  TextMapPropagator,
  TextMapSetter,
  Tracer,
  TracerProvider,
} from '@opentelemetry/api'
import type { IncomingHttpHeaders } from 'node:http'
import { b3Headers } from '../trace/b3.ts'
import { parseBaggage, renderBaggage } from '../trace/baggage.ts'
import { epochMs } from '../trace/clock.ts'
import type { Propagation } from '../trace/propagation.ts'
import { RecordedSpan, toTimeMs } from '../trace/span.ts'
import type { InstrumentationScope } from '../trace/span.ts'
import type { SpanTracer } from '../trace/tracer.ts'
import { fromApiBaggage, toApiBaggage } from './context.ts'
import { fromSpanContext, toSpanContext } from './span-context.ts'

/** The key of @opentelemetry/core, by which exporters and instrumentations keep their own calls out of traces. */
const suppressKey = Symbol.for('OpenTelemetry SDK Context Key SUPPRESS_TRACING')

/** Tracers of the API, whose spans go where ours go. `current` is asked for each span. */
export class BridgeTracerProvider implements TracerProvider {
  readonly #current: () => SpanTracer | undefined
  readonly #tracers = new Map<string, Tracer>()

  constructor(current: () => SpanTracer | undefined) {
    this.#current = current
  }

  getTracer(name: string, version?: string): Tracer {
    const key = `${name}@${version ?? ''}`
    let tracer = this.#tracers.get(key)
    if (tracer === undefined) {
      tracer = new BridgeTracer(this.#current, version === undefined ? { name } : { name, version })
      this.#tracers.set(key, tracer)
    }
    return tracer
  }
}

class BridgeTracer implements Tracer {
  readonly #current: () => SpanTracer | undefined
  readonly #scope: InstrumentationScope

  constructor(current: () => SpanTracer | undefined, scope: InstrumentationScope) {
    this.#current = current
    this.#scope = scope
  }

  startSpan(name: string, options: SpanOptions = {}, context: Context = contextApi.active()): Span {
    const tracer = this.#current()
    const parent = options.root ? undefined : trace.getSpan(context)
    if (tracer === undefined || context.getValue(suppressKey) === true) return unrecorded(parent)
    const parentContext = parent?.spanContext()
    const isRemote = parentContext?.isRemote === true
    const own =
      parent instanceof RecordedSpan
        ? tracer.child(parent.trace)
        : parentContext !== undefined && isSpanContextValid(parentContext)
          ? tracer.adopt(fromSpanContext(parentContext))
          : tracer.child(undefined)
    const startMs = options.startTime === undefined ? epochMs() : toTimeMs(options.startTime)
    // Kinds of OTLP are one above those of the API.
    const span = tracer.open(name, (options.kind ?? 0) + 1, own, startMs, this.#scope, isRemote)
    if (options.attributes) span.setAttributes(options.attributes)
    if (options.links) span.addLinks(options.links)
    return span
  }

  startActiveSpan<F extends (span: Span) => unknown>(name: string, ...rest: readonly unknown[]): ReturnType<F> {
    // (name, work), (name, options, work) or (name, options, context, work): the types of the API say so.
    const work = rest.at(-1) as F
    const options = rest.length > 1 ? (rest[0] as SpanOptions) : {}
    const parent = rest.length > 2 ? (rest[1] as Context) : contextApi.active()
    const span = this.startSpan(name, options, parent)
    return contextApi.with(trace.setSpan(parent, span), () => work(span)) as ReturnType<F>
  }
}

function unrecorded(parent: Span | undefined): Span {
  const none = { traceId: '0'.repeat(32), spanId: '0'.repeat(16), traceFlags: 0 }
  return trace.wrapSpanContext(parent?.spanContext() ?? none)
}

const readHeaders = ['traceparent', 'tracestate', ...b3Headers]

/** The formats of our traces for carriers of any kind. */
export class BridgePropagator implements TextMapPropagator {
  readonly #propagation: () => Propagation

  constructor(current: () => Propagation) {
    this.#propagation = current
  }

  inject(context: Context, carrier: unknown, setter: TextMapSetter): void {
    const format = this.#propagation()
    const headers: Record<string, string> = {}
    const spanContext = trace.getSpanContext(context)
    if (spanContext !== undefined && isSpanContextValid(spanContext) && context.getValue(suppressKey) !== true) {
      const span = trace.getSpan(context)
      format.inject(span instanceof RecordedSpan ? span.trace : fromSpanContext(spanContext), headers)
    }
    const baggage = format.hasBaggage ? propagation.getBaggage(context) : undefined
    const text = baggage === undefined ? '' : renderBaggage(fromApiBaggage(baggage))
    if (text !== '') headers['baggage'] = text
    for (const [name, value] of Object.entries(headers)) setter.set(carrier, name, value)
  }

  extract(context: Context, carrier: unknown, getter: TextMapGetter): Context {
    const format = this.#propagation()
    const headers: IncomingHttpHeaders = {}
    for (const name of readHeaders) {
      const value = getter.get(carrier, name)
      if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(',') : value
    }
    const parent = format.extract(headers)
    let extracted = context
    if (parent !== undefined && 'traceId' in parent) {
      // The API has no word for "not decided": the sampler of a root would say yes more often than not.
      const remote = toSpanContext({ ...parent, isSampled: parent.isSampled ?? true })
      extracted = trace.setSpanContext(extracted, { ...remote, isRemote: true })
    }
    const baggage = format.hasBaggage ? parseBaggage(getter.get(carrier, 'baggage')) : undefined
    return baggage && baggage.size > 0 ? propagation.setBaggage(extracted, toApiBaggage(baggage)) : extracted
  }

  fields(): string[] {
    return [...this.#propagation().fields]
  }
}
