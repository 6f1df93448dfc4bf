import { metricInvalid } from '../errors.ts'
import { renderLabel } from './text.ts'

/** The series of one metric, by their label values. */
export interface SeriesTable<S> {
  find(values: Readonly<Record<string, string | number>>): S
  /** The one series of a metric without labels; exists from the first rendering, so that it shows as 0. */
  unlabelled(): S
  /** Rendered labels (without braces) and series, in order of appearance. */
  entries(): Iterable<readonly [labels: string, series: S]>
}

export function createSeriesTable<S>(
  options: { readonly labels?: readonly string[] | undefined; readonly maxSeries?: number | undefined },
  create: () => S,
): SeriesTable<S> {
  const names = options.labels ?? []
  const maxSeries = options.maxSeries ?? 1000
  const table = new Map<string, S>()

  const at = (key: string): S => {
    let series = table.get(key)
    if (series === undefined) {
      series = create()
      table.set(key, series)
    }
    return series
  }
  const overflow = names.map((name) => renderLabel(name, '__overflow__')).join(',')
  if (names.length === 0) at('')

  return {
    find(values) {
      const key = names.map((name) => renderLabel(name, String(values[name] ?? ''))).join(',')
      return table.has(key) || table.size < maxSeries ? at(key) : at(overflow)
    },
    unlabelled() {
      if (names.length > 0) throw metricInvalid(names.join(','), 'it has labels, name their values by labels({...})')
      return at('')
    },
    entries: () => table,
  }
}
