import type { CollectedFamily, CollectedHistogram, CollectedSeries, Exemplar } from './collected.ts'
import { escapeLabel, renderLabels, renderNumber, renderSample } from './text.ts'

export interface OpenMetricsOptions {
  /**
   * Writes `_created`, the time a series began. Default false: unless told otherwise, Prometheus keeps it as one more
   * series per series.
   */
  readonly created?: boolean | undefined
}

/** Renders OpenMetrics 1.0.0, with exemplars on counters and buckets. */
export function renderOpenMetrics(families: readonly CollectedFamily[], options: OpenMetricsOptions = {}): string {
  let text = ''
  for (const family of families) {
    // The family goes without the ending that its samples have.
    const name = baseName(family)
    text += `# TYPE ${name} ${family.kind}\n`
    if (family.unit !== undefined) text += `# UNIT ${name} ${family.unit}\n`
    text += `# HELP ${name} ${escapeLabel(family.help)}\n`
    for (const series of family.series) {
      text += renderSeries(name, family.kind, series)
      if (options.created && (family.kind === 'counter' || family.kind === 'histogram'))
        text += renderSample(`${name}_created`, renderLabels(series.labels), series.startTimeMs / 1000)
    }
  }
  return `${text}# EOF\n`
}

function baseName({ name, kind }: CollectedFamily): string {
  if (kind === 'counter') return name.replace(/_total$/, '')
  return kind === 'info' ? name.replace(/_info$/, '') : name
}

function renderSeries(name: string, kind: CollectedFamily['kind'], series: CollectedSeries): string {
  const labels = renderLabels(series.labels)
  if ('bounds' in series) return renderHistogram(name, labels, series)
  const ending = kind === 'counter' ? '_total' : kind === 'info' ? '_info' : ''
  return withExemplar(renderSample(`${name}${ending}`, labels, series.value), series.exemplar)
}

function renderHistogram(name: string, labels: string, series: CollectedHistogram): string {
  const prefix = labels === '' ? '' : `${labels},`
  let text = ''
  let count = 0
  series.counts.forEach((inBucket, index) => {
    count += inBucket
    const le = renderFloat(series.bounds[index] ?? Infinity)
    text += withExemplar(renderSample(`${name}_bucket`, `${prefix}le="${le}"`, count), series.exemplars[index])
  })
  // In this order: a sum is the last thing of a histogram that Prometheus' own clients write.
  return text + renderSample(`${name}_count`, labels, count) + renderSample(`${name}_sum`, labels, series.sum)
}

/** Trace and span id are 63 characters with their names; the specification allows 128. */
function withExemplar(sample: string, exemplar: Exemplar | undefined): string {
  if (exemplar === undefined) return sample
  const { traceId, spanId, value, timeMs } = exemplar
  const time = (timeMs / 1000).toFixed(3)
  return `${sample.slice(0, -1)} # {trace_id="${traceId}",span_id="${spanId}"} ${renderNumber(value)} ${time}\n`
}

/** Canonical numbers: bounds are label values, and "1" would be another series than "1.0". */
function renderFloat(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e21 ? `${value}.0` : renderNumber(value)
}
