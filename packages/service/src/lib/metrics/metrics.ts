import { metricInvalid } from '../errors.ts'
import type { CollectedFamily, CollectedSeries, OtelNaming } from './collected.ts'
import type { NativeOptions } from './native.ts'
import { contentTypes } from './negotiate.ts'
import { createSeriesTable } from './series.ts'
import type { SeriesTable } from './series.ts'
import { renderText } from './text.ts'
import { copy, CounterValue, GaugeValue, HistogramValue } from './values.ts'
import type { ExemplarTrace } from './values.ts'

/** Values of a metric's labels, by label name. */
export type Labels<Name extends string> = { readonly [K in Name]: string | number }

export interface MetricOptions<Name extends string> {
  /** One sentence, shown by Prometheus. */
  readonly help: string
  /** Default: none. */
  readonly labels?: readonly Name[] | undefined
  /**
   * How many combinations of label values are kept apart (default 1000). Further ones are counted together under
   * `__overflow__`, so that an unbounded label costs precision and not memory; `fairlead_metrics_overflows_total`
   * tells how often that happened.
   */
  readonly maxSeries?: number | undefined
  /** The last part of the name before `_total`. Default: what the name says, when that is a unit Prometheus knows. */
  readonly unit?: string | undefined
  /** How OTLP calls it. Default: the name as it is. */
  readonly otel?: OtelNaming | undefined
}

export interface HistogramOptions<Name extends string> extends MetricOptions<Name> {
  /** Upper bounds, ascending, without +Inf. Default: {@link defaultBuckets}. */
  readonly buckets?: readonly number[] | undefined
  /** Also keeps the sparse buckets of a native histogram, which Prometheus gets when it asks for protobuf. Default false. */
  readonly native?: boolean | NativeOptions | undefined
}

export interface ObservableOptions<Name extends string> extends Omit<MetricOptions<Name>, 'maxSeries'> {
  /** Default `gauge`. */
  readonly kind?: 'counter' | 'gauge' | undefined
  /**
   * Reads the value, at each collection. Undefined: there is none now, the metric is not shown. With labels: one pair
   * of label values and value per series.
   */
  readonly read: [Name] extends [never]
    ? () => number | undefined
    : () => Iterable<readonly [labels: Labels<Name>, value: number]>
}

export interface CounterSeries {
  /** Adds `amount` (default 1, not negative). A sampled `trace` is kept as the exemplar. */
  inc(amount?: number, trace?: ExemplarTrace): void
}
export interface GaugeSeries {
  set(value: number): void
  inc(amount?: number): void
  dec(amount?: number): void
}
export interface HistogramSeries {
  /** Counts `value`. A sampled `trace` is kept as the exemplar of its bucket. */
  observe(value: number, trace?: ExemplarTrace): void
}

export interface Counter<Name extends string> extends CounterSeries {
  /** The series of these label values; worth keeping where it is used often. */
  labels(values: Labels<Name>): CounterSeries
}
export interface Gauge<Name extends string> extends GaugeSeries {
  labels(values: Labels<Name>): GaugeSeries
}
export interface Histogram<Name extends string> extends HistogramSeries {
  labels(values: Labels<Name>): HistogramSeries
}

/** A set of metrics that is rendered together. */
export interface Metrics {
  /** A value that only grows. The name ends in `_total`. */
  counter<const Name extends string = never>(name: string, options: MetricOptions<Name>): Counter<Name>
  /** A value that goes up and down. */
  gauge<const Name extends string = never>(name: string, options: MetricOptions<Name>): Gauge<Name>
  /** A distribution in fixed buckets. The name carries the unit, seconds for durations. */
  histogram<const Name extends string = never>(name: string, options: HistogramOptions<Name>): Histogram<Name>
  /** A counter or gauge whose value somebody else keeps. Returns what removes it. */
  observable<const Name extends string = never>(name: string, options: ObservableOptions<Name>): () => void
  /** Facts that do not change, as labels of a series with the value 1. The name ends in `_info`. */
  info(name: string, help: string, values: Readonly<Record<string, string>>): void
  /** Takes a metric away; its name is free again. Nothing happens when there is none. */
  remove(name: string): void
  /** Calls `update` before each collection: the place to set gauges that are read and not counted. Returns what ends it. */
  onCollect(update: () => void): () => void
  /** Adds families that somebody else keeps, asked for at each collection; one whose name is taken is left out. Returns what ends it. */
  source(read: () => readonly CollectedFamily[]): () => void
  /** Everything as it is now, a copy. In order of definition. */
  collect(): CollectedFamily[]
  /** The Prometheus text exposition format, version 0.0.4. */
  render(): string
}

/** Bounds in seconds that the OpenTelemetry HTTP conventions advise for request durations. */
export const defaultBuckets: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
]

/** Content type of {@link Metrics.render}. */
export const metricsContentType: string = contentTypes.text

/** Base units of the Prometheus naming advice, and the ones that are counted in whole. */
const knownUnits = ['seconds', 'bytes', 'ratio', 'celsius', 'volts', 'amperes', 'joules', 'grams', 'meters', 'cores']

/** An empty set of metrics. Nothing is global: two sets in one process do not know of each other. */
export function createMetrics(): Metrics {
  const families = new Map<string, Family>()
  const updates = new Set<() => void>()
  const sources = new Set<() => readonly CollectedFamily[]>()
  let failures = 0

  const add = <S>(
    name: string,
    kind: CollectedFamily['kind'],
    options: MetricOptions<string>,
    table: SeriesTable<S>,
    collect: (series: S) => object,
  ): void => {
    const read = (): CollectedSeries[] => {
      const series: CollectedSeries[] = []
      for (const { labels, startTimeMs, series: value } of table.entries())
        // What `collect` gives is the part of a series that its kind has.
        series.push({ labels, startTimeMs, ...collect(value) } as CollectedSeries)
      return series
    }
    register(families, { ...describe(name, kind, options), read, overflows: () => table.overflows })
  }
  const attempt = <T>(work: () => T, otherwise: T): T => {
    try {
      return work()
    } catch {
      // One reader that fails must not take the scrape with it; it is counted instead.
      failures += 1
      return otherwise
    }
  }
  const collect = (): CollectedFamily[] => {
    for (const update of updates) attempt(update, undefined)
    const collected: CollectedFamily[] = []
    for (const { read, overflows: _, ...family } of families.values()) {
      const series = attempt(read, undefined)
      if (series !== undefined) collected.push({ ...family, series })
    }
    const taken = new Set(families.keys())
    for (const source of sources) {
      for (const family of attempt(source, [])) {
        if (!taken.has(family.name)) collected.push(family)
        taken.add(family.name)
      }
    }
    return [...collected, ...collectOwn(families, failures)]
  }

  return {
    counter(name, options) {
      if (!name.endsWith('_total')) throw metricInvalid(name, 'a counter is named ..._total')
      const table = createSeriesTable(name, options, () => new CounterValue(name))
      add(name, 'counter', options, table, ({ value, exemplar }) => ({ value, exemplar: copy(exemplar) }))
      return {
        inc: (amount, trace) => table.unlabelled().inc(amount, trace),
        labels: (values) => table.find(values),
      }
    },
    gauge(name, options) {
      const table = createSeriesTable(name, options, () => new GaugeValue())
      add(name, 'gauge', options, table, ({ value }) => ({ value }))
      return {
        set: (value) => table.unlabelled().set(value),
        inc: (amount) => table.unlabelled().inc(amount),
        dec: (amount) => table.unlabelled().dec(amount),
        labels: (values) => table.find(values),
      }
    },
    histogram(name, options) {
      const buckets = [...(options.buckets ?? defaultBuckets)]
      if (buckets.some((bound, index) => !(bound > (buckets[index - 1] ?? -Infinity)) || bound === Infinity))
        throw metricInvalid(name, 'buckets do not ascend, or name +Inf, which is always there')
      const native = options.native === true ? {} : options.native || undefined
      const table = createSeriesTable(name, options, () => new HistogramValue(buckets, native))
      add(name, 'histogram', options, table, (series) => series.collect())
      return {
        observe: (value, trace) => table.unlabelled().observe(value, trace),
        labels: (values) => table.find(values),
      }
    },
    observable(name, options) {
      const kind = options.kind ?? 'gauge'
      if (kind === 'counter' && !name.endsWith('_total')) throw metricInvalid(name, 'a counter is named ..._total')
      const startTimeMs = Date.now()
      // The labels' names are of no concern from here on.
      const { labels, read: readValue } = options as unknown as ObservableOptions<string>
      const read = (): CollectedSeries[] | undefined => readObservable(labels ?? [], readValue, startTimeMs)
      return register(families, { ...describe(name, kind, options), read, overflows: () => 0 })
    },
    info(name, help, values) {
      if (!name.endsWith('_info')) throw metricInvalid(name, 'an info is named ..._info')
      const labels = Object.fromEntries(Object.entries(values).map(([label, value]) => [label, value.toWellFormed()]))
      const series = [{ labels, startTimeMs: Date.now(), value: 1 }]
      const described = describe(name, 'info', { help, labels: Object.keys(values) })
      register(families, { ...described, read: () => series, overflows: () => 0 })
    },
    remove(name) {
      families.delete(name)
    },
    onCollect(update) {
      // Wrapped, so that the same function given twice is called twice.
      const call = (): void => update()
      updates.add(call)
      return () => void updates.delete(call)
    },
    source(read) {
      const call = (): readonly CollectedFamily[] => read()
      sources.add(call)
      return () => void sources.delete(call)
    },
    collect,
    render: () => renderText(collect()),
  }
}

interface Family extends Omit<CollectedFamily, 'series'> {
  /** Undefined: not to be shown now. */
  readonly read: () => CollectedSeries[] | undefined
  readonly overflows: () => number
}

function register(families: Map<string, Family>, family: Family): () => void {
  const { name } = family
  if (families.has(name)) throw metricInvalid(name, 'the name is taken')
  families.set(name, family)
  return () => void families.delete(name)
}

function describe(
  name: string,
  kind: CollectedFamily['kind'],
  { help, labels = [], unit, otel }: MetricOptions<string>,
): Omit<Family, 'read' | 'overflows'> {
  if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name))
    throw metricInvalid(name, 'the name has characters other than letters, digits and _')
  if (kind !== 'counter' && /_(total|created)$/.test(name))
    throw metricInvalid(name, 'the endings _total and _created belong to counters')
  for (const label of labels) {
    if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(label) || label.startsWith('__') || label === 'le') {
      throw metricInvalid(name, `label ${JSON.stringify(label)} is not a permitted name`)
    }
  }
  const base = name.replace(/_total$/, '')
  if (unit !== undefined && !base.endsWith(`_${unit}`))
    throw metricInvalid(name, `its unit is ${JSON.stringify(unit)}, with which the name does not end`)
  return {
    name,
    kind,
    help,
    unit: unit ?? knownUnits.find((known) => base.endsWith(`_${known}`)),
    labelNames: [...labels],
    otel,
  }
}

function readObservable(
  names: readonly string[],
  read: () => number | undefined | Iterable<readonly [labels: Labels<string>, value: number]>,
  startTimeMs: number,
): CollectedSeries[] | undefined {
  const found = read()
  if (found === undefined) return undefined
  if (typeof found === 'number') return [{ labels: {}, startTimeMs, value: found }]
  return Array.from(found, ([values, value]) => {
    const labels = names.map((name) => [name, String(values[name] ?? '').toWellFormed()])
    return { labels: Object.fromEntries(labels), startTimeMs, value }
  })
}

/** What went wrong with the metrics themselves; not shown while nothing did. */
function collectOwn(families: Map<string, Family>, failures: number): CollectedFamily[] {
  const startTimeMs = Date.now()
  const overflows = families
    .values()
    .map(({ name, overflows }) => ({ labels: { metric: name }, startTimeMs, value: overflows() }))
    .filter(({ value }) => value > 0)
    .toArray()
  const own: CollectedFamily[] = []
  if (overflows.length > 0) {
    const help = 'Times a new combination of label values was counted under __overflow__.'
    const described = describe('fairlead_metrics_overflows_total', 'counter', { help, labels: ['metric'] })
    own.push({ ...described, series: overflows })
  }
  if (failures > 0) {
    const help = 'Readers of metrics that failed while everything was collected.'
    const described = describe('fairlead_metrics_read_failures_total', 'counter', { help })
    own.push({ ...described, series: [{ labels: {}, startTimeMs, value: failures }] })
  }
  return own
}
