import { createNoopMeter, diag } from '@opentelemetry/api'
import type {
  Attributes,
  BatchObservableCallback,
  Context,
  Counter,
  Gauge,
  Histogram,
  Meter,
  MeterProvider,
  MetricOptions,
  Observable,
  ObservableCallback,
  UpDownCounter,
} from '@opentelemetry/api'
import { trace } from '@opentelemetry/api'
import type { CollectedFamily } from '../metrics/collected.ts'
import { defaultBuckets } from '../metrics/metrics.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { HistogramValue } from '../metrics/values.ts'
import { currentScope } from '../trace/current.ts'
import type { TraceContext } from '../trace/traceparent.ts'
import { fromSpanContext } from './span-context.ts'

type Kind = 'counter' | 'updown' | 'gauge' | 'histogram'

/** Meters of the API that write into a set of metrics. An instrument is one by its name, whichever library makes it. */
export class BridgeMeterProvider implements MeterProvider {
  readonly #instruments = new Map<string, Instrument>()
  readonly #callbacks = new Set<() => void>()
  readonly end: () => void

  constructor(metrics: Metrics) {
    this.end = metrics.source(() => {
      for (const call of this.#callbacks) call()
      return [...this.#instruments.values()].filter(({ size }) => size > 0).map((instrument) => instrument.collect())
    })
  }

  getMeter(): Meter {
    return new BridgeMeter((name, kind, options) => this.#find(name, kind, options), this.#callbacks)
  }

  #find(name: string, kind: Kind, options: MetricOptions): Instrument | undefined {
    if (!/^[a-z][-_./a-z0-9]{0,254}$/i.test(name)) {
      diag.warn(`instrument "${name}" is not recorded: its name is not valid`)
      return undefined
    }
    const key = name.toLowerCase()
    const known = this.#instruments.get(key)
    if (known !== undefined && known.kind !== kind) {
      diag.warn(`instrument "${name}" is not recorded: it is a ${known.kind} elsewhere and a ${kind} here`)
      return undefined
    }
    const instrument = known ?? new Instrument(name, kind, options)
    this.#instruments.set(key, instrument)
    return instrument
  }
}

type Find = (name: string, kind: Kind, options: MetricOptions) => Instrument | undefined
const noop = createNoopMeter()

class BridgeMeter implements Meter {
  readonly #find: Find
  readonly #callbacks: Set<() => void>
  readonly #batches = new Map<BatchObservableCallback, () => void>()

  constructor(find: Find, callbacks: Set<() => void>) {
    this.#find = find
    this.#callbacks = callbacks
  }

  createCounter(name: string, options: MetricOptions = {}): Counter {
    const instrument = this.#find(name, 'counter', options)
    if (instrument === undefined) return noop.createCounter(name)
    return {
      add(value, attributes, context) {
        // A counter that shrinks would look like a restart.
        if (value >= 0) instrument.record(value, attributes, context)
      },
    }
  }

  createUpDownCounter(name: string, options: MetricOptions = {}): UpDownCounter {
    const instrument = this.#find(name, 'updown', options)
    if (instrument === undefined) return noop.createUpDownCounter(name)
    return { add: (value, attributes, context) => instrument.record(value, attributes, context) }
  }

  createGauge(name: string, options: MetricOptions = {}): Gauge {
    const instrument = this.#find(name, 'gauge', options)
    if (instrument === undefined) return noop.createGauge(name)
    return { record: (value, attributes) => instrument.set(value, attributes) }
  }

  createHistogram(name: string, options: MetricOptions = {}): Histogram {
    const instrument = this.#find(name, 'histogram', options)
    if (instrument === undefined) return noop.createHistogram(name)
    return { record: (value, attributes, context) => instrument.record(value, attributes, context) }
  }

  createObservableCounter(name: string, options?: MetricOptions): Observable {
    return this.#observe(name, 'counter', options)
  }

  createObservableUpDownCounter(name: string, options?: MetricOptions): Observable {
    return this.#observe(name, 'updown', options)
  }

  createObservableGauge(name: string, options?: MetricOptions): Observable {
    return this.#observe(name, 'gauge', options)
  }

  addBatchObservableCallback(callback: BatchObservableCallback, observables: Observable[]): void {
    const call = (): void => {
      const instruments = observables.filter((one) => one instanceof ObservedInstrument)
      collectInto(
        instruments.map(({ instrument }) => instrument),
        (observe) =>
          callback({
            observe: (metric, value, attributes) => {
              if (metric instanceof ObservedInstrument) observe(metric.instrument, value, attributes)
            },
          }),
      )
    }
    this.#batches.set(callback, call)
    this.#callbacks.add(call)
  }

  removeBatchObservableCallback(callback: BatchObservableCallback): void {
    const call = this.#batches.get(callback)
    if (call) this.#callbacks.delete(call)
    this.#batches.delete(callback)
  }

  #observe(name: string, kind: Kind, options: MetricOptions = {}): Observable {
    const instrument = this.#find(name, kind, options)
    return instrument === undefined
      ? noop.createObservableGauge(name)
      : new ObservedInstrument(instrument, this.#callbacks)
  }
}

class ObservedInstrument implements Observable {
  readonly instrument: Instrument
  readonly #all: Set<() => void>
  readonly #own = new Map<ObservableCallback, () => void>()

  constructor(instrument: Instrument, all: Set<() => void>) {
    this.instrument = instrument
    this.#all = all
  }

  addCallback(callback: ObservableCallback): void {
    const { instrument } = this
    const call = (): void =>
      collectInto([instrument], (observe) =>
        callback({ observe: (value, attributes) => observe(instrument, value, attributes) }),
      )
    this.#own.set(callback, call)
    this.#all.add(call)
  }

  removeCallback(callback: ObservableCallback): void {
    const call = this.#own.get(callback)
    if (call) this.#all.delete(call)
    this.#own.delete(callback)
  }
}

type Observe = (instrument: Instrument, value: number, attributes: Attributes | undefined) => void

/** Collecting does not wait: what a callback promises for later is in the collection after this one. */
function collectInto(instruments: readonly Instrument[], run: (observe: Observe) => unknown): void {
  const seen: [Instrument, number, Attributes | undefined][] = []
  const apply = (): void => {
    for (const [instrument, value, attributes] of seen.splice(0)) instrument.set(value, attributes)
  }
  const warn = (error: unknown): void => diag.warn('an observable callback failed', error)
  try {
    const result = run((instrument, value, attributes) => {
      if (instruments.includes(instrument)) seen.push([instrument, value, attributes])
    })
    apply()
    if (result instanceof Promise) result.then(apply, warn)
  } catch (error) {
    warn(error)
  }
}

interface Series {
  readonly labels: Readonly<Record<string, string>>
  readonly startTimeMs: number
  readonly value: { current: number } | HistogramValue
}

/** As many as OpenTelemetry keeps by default. */
const maxSeries = 2000
const overflow: Attributes = { 'otel.metric.overflow': true }

class Instrument {
  readonly kind: Kind
  readonly #family: Omit<CollectedFamily, 'series' | 'labelNames' | 'otel'>
  readonly #otel: { readonly name: string; readonly unit?: string; readonly isSum?: boolean }
  readonly #buckets: readonly number[]
  readonly #series = new Map<string, Series>()
  /** Label names by attribute names. */
  readonly #labels = new Map<string, string>()

  constructor(name: string, kind: Kind, { description = '', unit, advice }: MetricOptions) {
    const spelled = unitName(unit, kind)
    const base = name.replaceAll(/[^a-zA-Z0-9_]/g, '_').replace(/_total$/, '')
    const withUnit = spelled === '' || base.endsWith(`_${spelled}`) ? base : `${base}_${spelled}`
    this.kind = kind
    this.#family = {
      name: kind === 'counter' ? `${withUnit}_total` : withUnit,
      kind: kind === 'updown' ? 'gauge' : kind,
      help: description,
      unit: spelled === '' ? undefined : spelled,
    }
    this.#otel = { name, ...(unit === undefined ? {} : { unit }), ...(kind === 'updown' ? { isSum: true } : {}) }
    this.#buckets = advice?.explicitBucketBoundaries ?? (unit === 's' ? defaultBuckets : sdkBuckets)
  }

  get size(): number {
    return this.#series.size
  }

  record(value: number, attributes: Attributes | undefined, context: Context | undefined): void {
    if (typeof value !== 'number' || Number.isNaN(value)) return
    const series = this.#find(attributes ?? {})
    if (series.value instanceof HistogramValue) series.value.observe(value, traceOf(context))
    else series.value.current += value
  }

  set(value: number, attributes: Attributes | undefined): void {
    const series = this.#find(attributes ?? {})
    if (!(series.value instanceof HistogramValue)) series.value.current = value
  }

  collect(): CollectedFamily {
    const series = [...this.#series.values()].map(({ labels, startTimeMs, value }) =>
      value instanceof HistogramValue
        ? { labels, startTimeMs, ...value.collect() }
        : { labels, startTimeMs, value: value.current },
    )
    const attributes = Object.fromEntries([...this.#labels].map(([attribute, label]) => [label, attribute]))
    return { ...this.#family, otel: { ...this.#otel, attributes }, labelNames: [...this.#labels.values()], series }
  }

  #find(attributes: Attributes): Series {
    const key = keyOf(attributes)
    const known = this.#series.get(key)
    if (known !== undefined) return known
    if (this.#series.size >= maxSeries && attributes !== overflow) return this.#find(overflow)
    const labels: Record<string, string> = {}
    for (const name of Object.keys(attributes).toSorted()) {
      const value = attributes[name]
      if (value !== undefined && value !== null) labels[this.#label(name)] = textOf(value)
    }
    const value = this.kind === 'histogram' ? new HistogramValue([...this.#buckets], undefined) : { current: 0 }
    const series = { labels, startTimeMs: Date.now(), value }
    this.#series.set(key, series)
    return series
  }

  #label(attribute: string): string {
    let label = this.#labels.get(attribute)
    if (label === undefined) {
      label = attribute.replaceAll(/[^a-zA-Z0-9_]/g, '_').replace(/^(?=\d)/, '_')
      this.#labels.set(attribute, label)
    }
    return label
  }
}

/** Of what the specification advises where nothing else is said ("Explicit Bucket Histogram Aggregation"). */
const sdkBuckets = [0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000]

function keyOf(attributes: Attributes): string {
  let key = ''
  for (const name of Object.keys(attributes).toSorted()) key += `${name}\u0000${textOf(attributes[name])}\u0000`
  return key
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value.toWellFormed() : (JSON.stringify(value) ?? String(value)).toWellFormed()
}

const unitNames: Readonly<Record<string, string>> = {
  s: 'seconds',
  ms: 'milliseconds',
  us: 'microseconds',
  ns: 'nanoseconds',
  min: 'minutes',
  h: 'hours',
  d: 'days',
  By: 'bytes',
  KiBy: 'kibibytes',
  MiBy: 'mebibytes',
  GiBy: 'gibibytes',
  '%': 'percent',
  Cel: 'celsius',
  Hz: 'hertz',
  V: 'volts',
  A: 'amperes',
  J: 'joules',
  W: 'watts',
  g: 'grams',
  m: 'meters',
}

/** A unit as Prometheus names have it (OpenTelemetry, "Prometheus and OpenMetrics Compatibility"). */
function unitName(unit: string | undefined, kind: Kind): string {
  if (unit === '1') return kind === 'gauge' ? 'ratio' : ''
  // {request} and the like are remarks.
  return unitNames[unit ?? ''] ?? ''
}

/** What an exemplar may point to. */
function traceOf(context: Context | undefined): TraceContext | undefined {
  if (context === undefined) return currentScope()?.trace
  const spanContext = trace.getSpanContext(context)
  return spanContext && fromSpanContext(spanContext)
}
