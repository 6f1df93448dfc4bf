import { metricInvalid } from '../errors.ts'
import { createSeriesTable } from './series.ts'
import type { SeriesTable } from './series.ts'
import { renderHeader, renderSample } from './text.ts'

/** Values of a metric's labels, by label name. */
export type Labels<Name extends string> = { readonly [K in Name]: string | number }

export interface MetricOptions<Name extends string> {
  /** One sentence, shown by Prometheus. */
  readonly help: string
  /** Default: none. */
  readonly labels?: readonly Name[] | undefined
  /**
   * How many combinations of label values are kept apart (default 1000). Further ones are counted together under
   * `__overflow__`, so that an unbounded label costs precision and not memory.
   */
  readonly maxSeries?: number | undefined
}

export interface HistogramOptions<Name extends string> extends MetricOptions<Name> {
  /** Upper bounds, ascending, without +Inf. Default: {@link defaultBuckets}. */
  readonly buckets?: readonly number[] | undefined
}

export interface CounterSeries {
  /** Adds `amount` (default 1, not negative). */
  inc(amount?: number): void
}
export interface GaugeSeries {
  set(value: number): void
  inc(amount?: number): void
  dec(amount?: number): void
}
export interface HistogramSeries {
  observe(value: number): void
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
  /** Calls `update` before each rendering: the place to set gauges that are read and not counted. */
  onCollect(update: () => void): void
  /** The Prometheus text exposition format, version 0.0.4. */
  render(): string
}

/** Bounds in seconds that the OpenTelemetry HTTP conventions advise for request durations. */
export const defaultBuckets: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
]

/** Content type of {@link Metrics.render}. */
export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8'

/** An empty set of metrics. Nothing is global: two sets in one process do not know of each other. */
export function createMetrics(): Metrics {
  const families = new Map<string, () => string>()
  const updates: (() => void)[] = []

  const add = (name: string, labels: readonly string[], render: () => string): void => {
    if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name))
      throw metricInvalid(name, 'the name has characters other than letters, digits and _')
    if (families.has(name)) throw metricInvalid(name, 'the name is taken')
    for (const label of labels) {
      if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(label) || label.startsWith('__') || label === 'le') {
        throw metricInvalid(name, `label ${JSON.stringify(label)} is not a permitted name`)
      }
    }
    families.set(name, render)
  }

  return {
    counter(name, options) {
      if (!name.endsWith('_total')) throw metricInvalid(name, 'a counter is named ..._total')
      const table = createSeriesTable(options, createNumber)
      add(name, options.labels ?? [], () => renderHeader(name, 'counter', options.help) + renderNumbers(name, table))
      return {
        inc: (amount) => countUp(name, table.unlabelled(), amount),
        labels: (values) => counterSeries(name, table.find(values)),
      }
    },
    gauge(name, options) {
      const table = createSeriesTable(options, createNumber)
      add(name, options.labels ?? [], () => renderHeader(name, 'gauge', options.help) + renderNumbers(name, table))
      const unlabelled = lazy(() => gaugeSeries(table.unlabelled()))
      return {
        set: (value) => unlabelled().set(value),
        inc: (amount) => unlabelled().inc(amount),
        dec: (amount) => unlabelled().dec(amount),
        labels: (values) => gaugeSeries(table.find(values)),
      }
    },
    histogram(name, options) {
      const buckets = options.buckets ?? defaultBuckets
      if (buckets.some((bound, index) => !(bound > (buckets[index - 1] ?? -Infinity))))
        throw metricInvalid(name, 'buckets do not ascend')
      const table = createSeriesTable(options, () => ({ counts: new Float64Array(buckets.length + 1), sum: 0 }))
      add(
        name,
        options.labels ?? [],
        () => renderHeader(name, 'histogram', options.help) + renderBuckets(name, buckets, table),
      )
      return {
        observe: (value) => observe(table.unlabelled(), buckets, value),
        labels: (values) => {
          const series = table.find(values)
          return { observe: (value) => observe(series, buckets, value) }
        },
      }
    },
    onCollect(update) {
      updates.push(update)
    },
    render() {
      for (const update of updates) update()
      return families
        .values()
        .map((render) => render())
        .toArray()
        .join('')
    },
  }
}

interface NumberSeries {
  value: number
}
interface BucketSeries {
  /** Not cumulative; the last one is +Inf. */
  readonly counts: Float64Array
  sum: number
}

function createNumber(): NumberSeries {
  return { value: 0 }
}

function countUp(name: string, series: NumberSeries, amount = 1): void {
  if (!(amount >= 0)) throw metricInvalid(name, `a counter cannot grow by ${amount}`)
  series.value += amount
}

function counterSeries(name: string, series: NumberSeries): CounterSeries {
  return { inc: (amount) => countUp(name, series, amount) }
}

function gaugeSeries(series: NumberSeries): GaugeSeries {
  return {
    set: (value) => {
      series.value = value
    },
    inc: (amount = 1) => {
      series.value += amount
    },
    dec: (amount = 1) => {
      series.value -= amount
    },
  }
}

function observe(series: BucketSeries, buckets: readonly number[], value: number): void {
  let index = 0
  // Linear on purpose: most requests end in the first buckets.
  while (index < buckets.length && value > (buckets[index] ?? Infinity)) index += 1
  series.counts[index] = (series.counts[index] ?? 0) + 1
  series.sum += value
}

function renderNumbers(name: string, table: SeriesTable<NumberSeries>): string {
  let text = ''
  for (const [labels, series] of table.entries()) text += renderSample(name, labels, series.value)
  return text
}

function renderBuckets(name: string, buckets: readonly number[], table: SeriesTable<BucketSeries>): string {
  let text = ''
  for (const [labels, series] of table.entries()) {
    const prefix = labels === '' ? '' : `${labels},`
    let count = 0
    series.counts.forEach((inBucket, index) => {
      count += inBucket
      const bound = buckets[index]
      text += renderSample(`${name}_bucket`, `${prefix}le="${bound ?? '+Inf'}"`, count)
    })
    text += renderSample(`${name}_sum`, labels, series.sum) + renderSample(`${name}_count`, labels, count)
  }
  return text
}

function lazy<T>(create: () => T): () => T {
  let value: T | undefined
  return () => (value ??= create())
}
