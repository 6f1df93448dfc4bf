/** A family of the Prometheus text format, read back. */
export interface Family {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly samples: readonly Sample[]
}
interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** Reads the text format 0.0.4 more strictly than Prometheus does; throws on the first line that is not as it should be. */
export function parseExposition(text: string): Family[] {
  if (!text.endsWith('\n')) throw new SyntaxError('the last line does not end')
  const families: (Family & { readonly samples: Sample[] })[] = []
  const seen = new Set<string>()
  for (const line of text.slice(0, -1).split('\n')) {
    const help = /^# HELP ([a-zA-Z_:][\w:]*) (.*)$/.exec(line)
    const type = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram)$/.exec(line)
    const family = families.at(-1)
    if (help) {
      if (families.some(({ name }) => name === help[1])) throw new SyntaxError(`twice: ${line}`)
      families.push({ name: help[1] ?? '', type: '', help: unescape(help[2] ?? ''), samples: [] })
    } else if (type) {
      if (family?.name !== type[1] || family?.type !== '') throw new SyntaxError(`not after its HELP: ${line}`)
      families[families.length - 1] = { ...family, type: type[2] ?? '' }
    } else {
      const sample = parseSample(line)
      if (family === undefined || !belongs(sample.name, family)) throw new SyntaxError(`not of its family: ${line}`)
      const key = JSON.stringify([sample.name, Object.entries(sample.labels).map(String).toSorted()])
      if (seen.has(key)) throw new SyntaxError(`twice: ${line}`)
      seen.add(key)
      family.samples.push(sample)
    }
  }
  for (const family of families) if (family.type === 'histogram') checkHistogram(family)
  return families
}

function parseSample(line: string): Sample {
  const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line)
  if (!match) throw new SyntaxError(`not a sample: ${line}`)
  const labels: Record<string, string> = {}
  let rest = match[2] ?? ''
  while (rest !== '') {
    const label = /^([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/.exec(rest)
    if (!label || Object.hasOwn(labels, label[1] ?? '')) throw new SyntaxError(`not a label: ${rest}`)
    labels[label[1] ?? ''] = unescape(label[2] ?? '')
    rest = rest.slice(label[0].length)
  }
  const value = match[3] === '+Inf' ? Infinity : match[3] === '-Inf' ? -Infinity : Number(match[3])
  if (Number.isNaN(value) && match[3] !== 'NaN') throw new SyntaxError(`not a number: ${line}`)
  return { name: match[1] ?? '', labels, value }
}

function belongs(sample: string, { name, type }: Family): boolean {
  return type === 'histogram'
    ? ['_bucket', '_sum', '_count'].some((suffix) => sample === name + suffix)
    : type !== '' && sample === name
}

/** Buckets grow, and the last one counts everything. */
function checkHistogram({ name, samples }: Family): void {
  const series = Map.groupBy(samples, ({ labels }) => JSON.stringify({ ...labels, le: undefined }))
  for (const group of series.values()) {
    const buckets = group.filter((sample) => sample.name === `${name}_bucket`)
    const counts = buckets.map(({ value }) => value)
    if (counts.some((count, index) => count < (counts[index - 1] ?? 0)))
      throw new SyntaxError(`buckets of ${name} shrink`)
    const total = group.find((sample) => sample.name === `${name}_count`)?.value
    if (buckets.at(-1)?.labels['le'] !== '+Inf' || counts.at(-1) !== total)
      throw new SyntaxError(`buckets of ${name} do not add up`)
  }
}

function unescape(text: string): string {
  return text.replaceAll(/\\(["\\n])/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))
}
