import { propagation, ROOT_CONTEXT, trace } from '@opentelemetry/api'
import type { Baggage as ApiBaggage, Context, ContextManagementToken, ContextManager, Span } from '@opentelemetry/api'
import {
  currentBaggage,
  currentStore,
  DerivedScope,
  DetachedScope,
  enterStore,
  runInDetached,
  runInScope,
} from '../trace/current.ts'
import type { RequestScope } from '../trace/current.ts'
import type { Baggage } from '../trace/baggage.ts'
import { RecordedSpan } from '../trace/span.ts'
import { spanOf } from '../trace/tracer.ts'
import type { TraceContext } from '../trace/traceparent.ts'
import { fromSpanContext, toSpanContext } from './span-context.ts'

const scopeKey = Symbol('fairlead request scope')

const adopted = new WeakMap<TraceContext, Span>()

/** The contexts of a request's scope, as long as it lives. */
const contexts = new WeakMap<RequestScope, Context>()

/** Keeps contexts of the OpenTelemetry API where the scope of a request is: what changes one changes the other. */
export class ScopeContextManager implements ContextManager {
  active(): Context {
    const store = currentStore()
    if (store === undefined) return ROOT_CONTEXT
    // Whoever put it there took it from the API.
    if (store instanceof DetachedScope) return store.context as Context
    if (store instanceof DerivedScope && store.context !== undefined) return store.context as Context
    return contextOf(store)
  }

  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    context: Context,
    work: F,
    thisArg?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    const call = (): ReturnType<F> => work.call(thisArg, ...args)
    const scope = scopeOf(context)
    return scope instanceof DetachedScope ? runInDetached(scope, call) : runInScope(scope, call)
  }

  bind<T>(context: Context, target: T): T {
    if (typeof target === 'function') return this.#bindFunction(context, target as unknown as AnyFunction) as T
    return isEmitter(target) ? this.#bindEmitter(context, target) : target
  }

  attach(context: Context): ContextManagementToken {
    const before = currentStore()
    enterStore(scopeOf(context))
    return { dispose: () => enterStore(before) }
  }

  enable(): this {
    return this
  }

  disable(): this {
    return this
  }

  #bindFunction(context: Context, target: AnyFunction): AnyFunction {
    const run = (work: () => unknown): unknown => this.with(context, work)
    const bound = function (this: unknown, ...args: unknown[]): unknown {
      return run(() => target.apply(this, args))
    }
    Object.defineProperty(bound, 'length', { configurable: true, value: target.length })
    return bound
  }

  /** Listeners that are added from now on run in `context`. The emitter is given methods of its own, which is what binding is. */
  #bindEmitter<T extends Emitter>(context: Context, emitter: T): T {
    const bound = new WeakMap<AnyFunction, AnyFunction>()
    for (const name of ['addListener', 'on', 'once', 'prependListener', 'prependOnceListener'] as const) {
      const add = emitter[name]
      if (typeof add !== 'function') continue
      emitter[name] = (event: unknown, given: unknown) => {
        const listener = given as AnyFunction
        const wrapped = bound.get(listener) ?? this.#bindFunction(context, listener)
        bound.set(listener, wrapped)
        // So that removing the original finds it, as events.once does it.
        Object.assign(wrapped, { listener })
        return add.call(emitter, event, wrapped)
      }
    }
    return emitter
  }
}

// A function of which nothing is known but that it can be called.
type AnyFunction = (...args: unknown[]) => unknown
interface Emitter {
  on: AnyFunction
  addListener: AnyFunction
  once: AnyFunction
  prependListener: AnyFunction
  prependOnceListener: AnyFunction
}

function isEmitter(value: unknown): value is Emitter {
  return (
    typeof value === 'object' && value !== null && 'on' in value && 'emit' in value && typeof value.on === 'function'
  )
}

/** The context of a request: its span, its baggage, and itself. */
function contextOf(scope: RequestScope): Context {
  const known = contexts.get(scope)
  if (known !== undefined) return known
  let context = ROOT_CONTEXT.setValue(scopeKey, scope)
  const span = adopted.get(scope.trace) ?? spanOf(scope)
  context =
    span === undefined ? trace.setSpanContext(context, toSpanContext(scope.trace)) : trace.setSpan(context, span)
  const baggage = currentBaggage()
  if (baggage.size > 0) context = propagation.setBaggage(context, toApiBaggage(baggage))
  contexts.set(scope, context)
  return context
}

/** Makes `span`, of another tracer, the one of requests whose trace is `own`. */
export function adoptSpan(own: TraceContext, span: Span): void {
  adopted.set(own, span)
}

export function adoptedSpan(own: TraceContext): Span | undefined {
  return adopted.get(own)
}

/** What code that runs in `context` runs for. */
function scopeOf(context: Context): RequestScope | DetachedScope {
  const base = context.getValue(scopeKey) as RequestScope | undefined
  const span = trace.getSpan(context)
  if (base === undefined && span === undefined) return new DetachedScope(context)
  const own = span instanceof RecordedSpan ? span.trace : span && fromSpanContext(span.spanContext())
  const traceContext = own ?? base?.trace
  if (traceContext === undefined) return new DetachedScope(context)
  return derive(base, traceContext, span, context)
}

function derive(base: RequestScope | undefined, own: TraceContext, span: unknown, context: Context): RequestScope {
  // The API gives every context its own object, so the same trace is the same span.
  const isSame = base !== undefined && base.trace.spanId === own.spanId
  const baggage = propagation.getBaggage(context)
  return new DerivedScope(base, {
    trace: isSame ? base.trace : own,
    ...(isSame ? {} : { span }),
    ...(baggage === undefined ? {} : { baggage: fromApiBaggage(baggage) }),
    context,
  })
}

export function toApiBaggage(baggage: Baggage): ApiBaggage {
  return propagation.createBaggage(Object.fromEntries([...baggage].map(([key, { value }]) => [key, { value }])))
}

export function fromApiBaggage(baggage: ApiBaggage): Baggage {
  return new Map(
    baggage.getAllEntries().map(([key, { value, metadata }]) => {
      const text = metadata?.toString()
      return [key, text ? { value, metadata: text } : { value }]
    }),
  )
}
