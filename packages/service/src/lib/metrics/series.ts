import { metricInvalid } from '../errors.ts'

export type LabelValues = Readonly<Record<string, string | number>>

/** One combination of label values. */
export interface Entry<S> {
  readonly labels: Readonly<Record<string, string>>
  readonly startTimeMs: number
  readonly series: S
}

/** The series of one metric, by their label values. */
export interface SeriesTable<S> {
  find(values: LabelValues): S
  /** The one series of a metric without labels; exists from the first rendering, so that it shows as 0. */
  unlabelled(): S
  /** In order of appearance. */
  entries(): Iterable<Entry<S>>
  /** How often a new combination of label values was counted under `__overflow__`. */
  readonly overflows: number
}

/** The value of every label of the series that counts what is above the cap. */
const overflowValue = '__overflow__'

export function createSeriesTable<S>(
  metric: string,
  options: { readonly labels?: readonly string[] | undefined; readonly maxSeries?: number | undefined },
  create: () => S,
): SeriesTable<S> {
  const names = options.labels ?? []
  const maxSeries = options.maxSeries ?? 1000
  const table = new Map<string, Entry<S>>()
  let overflows = 0

  const add = (key: string, valueOf: (name: string) => string): Entry<S> => {
    const labels = Object.fromEntries(names.map((name) => [name, valueOf(name)]))
    const entry = { labels, startTimeMs: Date.now(), series: create() }
    table.set(key, entry)
    return entry
  }
  const single = names.length === 0 ? add('', () => '').series : undefined

  return {
    find(values) {
      const key = keyOf(names, values)
      const known = table.get(key)
      if (known !== undefined) return known.series
      if (table.size < maxSeries) return add(key, (name) => textOf(values[name])).series
      overflows += 1
      const overflowKey = keyOf(names, Object.fromEntries(names.map((name) => [name, overflowValue])))
      return (table.get(overflowKey) ?? add(overflowKey, () => overflowValue)).series
    },
    unlabelled() {
      if (single === undefined)
        throw metricInvalid(metric, `it has the labels ${names.join(', ')}, name their values by labels({...})`)
      return single
    },
    entries: () => table.values(),
    get overflows() {
      return overflows
    },
  }
}

/** Lengths keep apart what a separator would not: values may hold any character. */
function keyOf(names: readonly string[], values: LabelValues): string {
  if (names.length === 1) return textOf(values[names[0] ?? ''])
  let key = ''
  for (const name of names) {
    const text = textOf(values[name])
    key += `${text.length}:${text}`
  }
  return key
}

/** Half a surrogate pair cannot be written in UTF-8, and two of them must not become the same text later. */
function textOf(value: string | number | undefined): string {
  return typeof value === 'string' ? value.toWellFormed() : value === undefined ? '' : String(value)
}
