import type { CollectedFamily, CollectedSeries } from './collected.ts'

/** Renders the Prometheus text exposition format 0.0.4. */
export function renderText(families: readonly CollectedFamily[]): string {
  let text = ''
  for (const family of families) {
    const { name, kind, help } = family
    text += `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${kind === 'info' ? 'gauge' : kind}\n`
    for (const series of family.series) text += renderSeries(name, series)
  }
  return text
}

/** `a="1",b="2"`, without braces. */
export function renderLabels(labels: Readonly<Record<string, string>>): string {
  let text = ''
  for (const name in labels) text += `${text === '' ? '' : ','}${name}="${escapeLabel(labels[name] ?? '')}"`
  return text
}

export function renderSample(name: string, labels: string, value: number): string {
  return `${name}${labels === '' ? '' : `{${labels}}`} ${renderNumber(value)}\n`
}

export function renderNumber(value: number): string {
  if (value === Infinity) return '+Inf'
  return value === -Infinity ? '-Inf' : String(value)
}

function renderSeries(name: string, series: CollectedSeries): string {
  const labels = renderLabels(series.labels)
  if (!('bounds' in series)) return renderSample(name, labels, series.value)
  const prefix = labels === '' ? '' : `${labels},`
  let text = ''
  let count = 0
  series.counts.forEach((inBucket, index) => {
    count += inBucket
    text += renderSample(`${name}_bucket`, `${prefix}le="${renderNumber(series.bounds[index] ?? Infinity)}"`, count)
  })
  return text + renderSample(`${name}_sum`, labels, series.sum) + renderSample(`${name}_count`, labels, count)
}

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

/** Also what OpenMetrics does to help texts. */
export function escapeLabel(text: string): string {
  // Most values have nothing to escape, and there are thousands of them in an answer.
  return /["\\\n]/.test(text) ? text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n') : text
}
