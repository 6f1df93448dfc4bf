import { epochMs, toEpochMs } from './clock.ts'
import type { SpanLimits } from './limits.ts'
import { createTraceState } from './state.ts'
import type { TraceState } from './state.ts'
import type { TraceContext } from './traceparent.ts'

/** Numbers of SpanKind in OTLP. */
export const spanKind = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 } as const
export type SpanKindName = keyof typeof spanKind

/** Numbers of a span's status in OTLP and in the OpenTelemetry API alike. */
export const spanStatus = { unset: 0, ok: 1, error: 2 } as const

/** Values that attributes have. Other values are written as JSON would have them; undefined and null are left out. */
export type AttributeValue = string | number | boolean | readonly (string | number | boolean | null | undefined)[]
export type Attributes = Readonly<Record<string, AttributeValue | undefined>>

/** Keys and values in turn: `['http.route', '/orders/:id', ...]`. Cheaper than a map, and there are few. */
export type AttributeList = readonly unknown[]

/** Attributes that many spans have in common, which exporters may keep in their own form by the identity of the object. */
export interface CommonAttributes {
  readonly list: AttributeList
}

/** Who made a span or metric, as OpenTelemetry names libraries. */
export interface InstrumentationScope {
  readonly name: string
  readonly version?: string | undefined
}

export interface SpanEvent {
  readonly name: string
  readonly timeMs: number
  readonly attributes: AttributeList
}
export interface SpanLink {
  readonly traceId: string
  readonly spanId: string
  readonly state?: string | undefined
  readonly flags: number
  readonly attributes: AttributeList
}

/** A span as exporters read it. Times are milliseconds since the epoch, with fractions. */
export interface SpanRecord {
  readonly scope: InstrumentationScope
  readonly name: string
  /** See {@link spanKind}. */
  readonly kind: number
  readonly trace: TraceContext
  readonly isParentRemote: boolean
  readonly startMs: number
  readonly endMs: number
  readonly attributes: AttributeList
  /** More of them, with other keys. */
  readonly common: CommonAttributes | undefined
  readonly droppedAttributes: number
  readonly events: readonly SpanEvent[]
  readonly droppedEvents: number
  readonly links: readonly SpanLink[]
  readonly droppedLinks: number
  /** See {@link spanStatus}. */
  readonly status: number
  readonly statusMessage: string
}

/** Where finished spans go. */
export interface SpanSink {
  add(span: SpanRecord): void
}

/** A step of a request that is being timed. Once it has ended, or when its trace is not sampled, changes do nothing. */
export interface Span {
  /** Whether anything is kept: ask before computing expensive attributes. */
  isRecording(): boolean
  /** The last value of a key counts. */
  setAttribute(key: string, value: AttributeValue): this
  setAttributes(attributes: Attributes): this
  addEvent(name: string, attributes?: Attributes): this
  /** Ties the span to one of another trace, such as the message that is being processed. */
  addLink(link: {
    readonly context: { readonly traceId: string; readonly spanId: string }
    readonly attributes?: Attributes
  }): this
  /** An `exception` event. Does not make the span a failed one; {@link setStatus} does. */
  recordException(error: unknown): void
  setStatus(status: { readonly code: number; readonly message?: string }): this
  updateName(name: string): this
  /** Later calls do nothing. */
  end(): void
}

const none: readonly never[] = []

interface OtelTimeInput {
  getTime?(): number
}

/** {@link Span}, and the `Span` of @opentelemetry/api as well, whose every method it has. */
export class RecordedSpan implements Span, SpanRecord {
  readonly scope: InstrumentationScope
  name: string
  readonly kind: number
  readonly trace: TraceContext
  readonly isParentRemote: boolean
  startMs: number
  endMs = 0
  attributes: unknown[] = []
  common: CommonAttributes | undefined = undefined
  droppedAttributes = 0
  events: readonly SpanEvent[] = none
  droppedEvents = 0
  links: readonly SpanLink[] = none
  droppedLinks = 0
  status = 0
  statusMessage = ''
  /** Of the OpenTelemetry bridge: the context in which this span is the active one. */
  context: unknown
  readonly #limits: SpanLimits
  #sink: SpanSink | undefined

  /** Without a `sink` it records nothing. */
  constructor(
    name: string,
    kind: number,
    trace: TraceContext,
    startMs: number,
    owner: {
      readonly scope: InstrumentationScope
      readonly limits: SpanLimits
      readonly sink: SpanSink | undefined
      readonly isParentRemote?: boolean | undefined
    },
  ) {
    this.name = name
    this.kind = kind
    this.trace = trace
    this.startMs = startMs
    this.scope = owner.scope
    this.isParentRemote = owner.isParentRemote ?? false
    this.#limits = owner.limits
    this.#sink = trace.isSampled ? owner.sink : undefined
  }

  isRecording(): boolean {
    return this.#sink !== undefined
  }

  spanContext(): { traceId: string; spanId: string; traceFlags: number; traceState?: TraceState } {
    const { traceId, spanId, isSampled, isRandom, state } = this.trace
    const traceFlags = (isSampled ? 1 : 0) + (isRandom ? 2 : 0)
    return { traceId, spanId, traceFlags, ...(state === undefined ? {} : { traceState: createTraceState(state) }) }
  }

  setAttribute(key: string, value: unknown): this {
    if (this.#sink === undefined || value === undefined || value === null || key === '') return this
    const list = this.attributes
    for (let index = 0; index < list.length; index += 2) {
      if (list[index] === key) {
        list[index + 1] = this.#limited(value)
        return this
      }
    }
    if (list.length >= this.#limits.attributes * 2) this.droppedAttributes += 1
    else list.push(key, this.#limited(value))
    return this
  }

  /** As setAttribute, of a key that is not there yet. */
  append(key: string, value: string | number): void {
    this.attributes.push(
      key,
      typeof value === 'string' && value.length > this.#limits.valueLength ? this.#limited(value) : value,
    )
  }

  setAttributes(attributes: Readonly<Record<string, unknown>>): this {
    for (const key in attributes) this.setAttribute(key, attributes[key])
    return this
  }

  addEvent(name: string, attributesOrTime?: unknown, time?: unknown): this {
    if (this.#sink === undefined) return this
    if (this.events.length >= this.#limits.events) {
      this.droppedEvents += 1
      return this
    }
    const isTime = isTimeInput(attributesOrTime)
    const event = {
      name,
      timeMs: toTimeMs(isTime ? attributesOrTime : time),
      attributes: isTime ? none : this.#list(attributesOrTime),
    }
    if (this.events === none) this.events = [event]
    else (this.events as SpanEvent[]).push(event)
    return this
  }

  addLink(link: {
    readonly context: {
      readonly traceId: string
      readonly spanId: string
      readonly traceFlags?: number | undefined
      readonly traceState?: TraceState | undefined
    }
    readonly attributes?: unknown
  }): this {
    if (this.#sink === undefined) return this
    if (this.links.length >= this.#limits.links) {
      this.droppedLinks += 1
      return this
    }
    const { traceId, spanId, traceFlags, traceState } = link.context
    const record = {
      traceId,
      spanId,
      state: traceState?.serialize(),
      flags: traceFlags ?? 0,
      attributes: this.#list(link.attributes),
    }
    if (this.links === none) this.links = [record]
    else (this.links as SpanLink[]).push(record)
    return this
  }

  addLinks(links: readonly Parameters<RecordedSpan['addLink']>[0][]): this {
    for (const link of links) this.addLink(link)
    return this
  }

  recordException(error: unknown, time?: unknown): void {
    if (this.#sink !== undefined) this.addEvent('exception', exceptionAttributes(error), time)
  }

  setStatus(status: { readonly code: number; readonly message?: string | undefined }): this {
    // "Ok" is the word of the author of the program, whom no library corrects (trace API, "Set Status").
    if (this.#sink === undefined || this.status === spanStatus.ok || status.code === spanStatus.unset) return this
    this.status = status.code
    this.statusMessage = status.code === spanStatus.error ? (status.message ?? '') : ''
    return this
  }

  updateName(name: string): this {
    if (this.#sink !== undefined) this.name = name
    return this
  }

  end(time?: unknown): void {
    const sink = this.#sink
    if (sink === undefined) return
    const end = time === undefined ? epochMs() : toTimeMs(time)
    this.endMs = end < this.startMs ? this.startMs : end
    this.#sink = undefined
    sink.add(this)
  }

  #list(attributes: unknown): AttributeList {
    if (typeof attributes !== 'object' || attributes === null) return none
    const list: unknown[] = []
    for (const [key, value] of Object.entries(attributes)) {
      if (value === undefined || value === null || list.length >= this.#limits.attributes * 2) continue
      list.push(key, this.#limited(value))
    }
    return list
  }

  #limited(value: unknown): unknown {
    const max = this.#limits.valueLength
    if (max === Infinity) return value
    if (typeof value === 'string') return value.length > max ? value.slice(0, max) : value
    return Array.isArray(value) ? value.map((item) => this.#limited(item)) : value
  }
}

/** Attributes of an `exception` event. */
export function exceptionAttributes(error: unknown): Record<string, string> {
  if (typeof error !== 'object' || error === null) return { 'exception.message': String(error) }
  const { message, stack } = error as { message?: unknown; stack?: unknown }
  return {
    'exception.type': errorType(error),
    ...(typeof message === 'string' ? { 'exception.message': message } : {}),
    ...(typeof stack === 'string' ? { 'exception.stacktrace': stack } : {}),
  }
}

/** `error.type`: the code of an error, else the name of its class. A word of low cardinality, never the message. */
export function errorType(error: unknown): string {
  if (typeof error !== 'object' || error === null) return typeof error
  const { code, name } = error as { code?: unknown; name?: unknown }
  if (typeof code === 'string' && code !== '') return code
  return typeof name === 'string' && name !== '' ? name : 'Error'
}

/** A time as @opentelemetry/api may have it: a Date, `[seconds, nanoseconds]`, epoch or `performance.now()` milliseconds. */
export function toTimeMs(time: unknown): number {
  if (time === undefined || time === null) return epochMs()
  if (typeof time === 'number') return time < performance.timeOrigin ? toEpochMs(time) : time
  if (Array.isArray(time)) return Number(time[0]) * 1000 + Number(time[1]) / 1e6
  return (time as OtelTimeInput).getTime?.() ?? epochMs()
}

function isTimeInput(value: unknown): boolean {
  return typeof value === 'number' || value instanceof Date || (Array.isArray(value) && value.length === 2)
}
