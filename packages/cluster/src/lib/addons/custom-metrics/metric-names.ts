/** Where the figure called so may come from: a series as it is, or the rate of a counter, per second. */
export interface Candidate {
  readonly series: string
  readonly isRate: boolean
}

const perSecond = '_per_second'

/**
 * Where a metric is looked for, the best first. Names are those of prometheus-adapter: `http_requests` and
 * `http_requests_per_second` are the rate of the counter `http_requests_total`; everything else is the series of that name.
 */
export function candidatesOf(metric: string): readonly Candidate[] {
  const base = metric.endsWith(perSecond) ? metric.slice(0, -perSecond.length) : metric
  const counters = [`${base}_total`, `${base}_seconds_total`, ...(base === metric ? [] : [`${base}_count`])]
  return [{ series: metric, isRate: false }, ...counters.map((series) => ({ series, isRate: true }))]
}
