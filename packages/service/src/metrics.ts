/**
 * Metrics in the Prometheus text format, with a bound on the number of series.
 *
 * ```ts
 * import { createMetrics } from '@fairlead/service/metrics'
 *
 * const metrics = createMetrics()
 * const sold = metrics.counter('shop_products_sold_total', { help: 'Products sold.', labels: ['sku'] })
 * sold.labels({ sku: 'mug-01' }).inc(2)
 * process.stdout.write(metrics.render())
 * ```
 */
export { createMetrics, defaultBuckets, metricsContentType } from './lib/metrics/metrics.ts'
export type {
  Counter,
  CounterSeries,
  Gauge,
  GaugeSeries,
  Histogram,
  HistogramOptions,
  HistogramSeries,
  Labels,
  MetricOptions,
  Metrics,
  ObservableOptions,
} from './lib/metrics/metrics.ts'
export { addProcessMetrics } from './lib/metrics/process.ts'
export type {
  CollectedFamily,
  CollectedHistogram,
  CollectedNumber,
  CollectedSeries,
  Exemplar,
  NativeHistogram,
  OtelNaming,
} from './lib/metrics/collected.ts'
export type { NativeOptions } from './lib/metrics/native.ts'
export type { ExemplarTrace } from './lib/metrics/values.ts'
