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
export { exposeMetrics } from './lib/metrics/expose.ts'
export type { Exposition, ScrapeHeaders } from './lib/metrics/expose.ts'
export type { OpenMetricsOptions } from './lib/metrics/openmetrics.ts'
export { addRuntimeMetrics } from './lib/metrics/all.ts'
export { addRequestMetrics, addServerMetrics } from './lib/metrics/http.ts'
export type { MeasuredRequest, MeasuredServer } from './lib/metrics/http.ts'
export { addProcessMetrics } from './lib/metrics/process.ts'
export { addNodeMetrics } from './lib/metrics/runtime.ts'
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
