/** One time series of a Prometheus exposition. */
export interface Series {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** As many series of one name as a pod may have; what comes after them is not read. */
const mostSeries = 10_000

/**
 * The series called `names`, of a text in Prometheus' format or OpenMetrics, by name. Lines of others are passed over, so that a
 * large text costs little. Values that are no numbers, and time stamps, are left out.
 */
export function readSeries(text: string, names: ReadonlySet<string>): Map<string, Series[]> {
  const found = new Map<string, Series[]>()
  for (let start = 0; start < text.length;) {
    const newline = text.indexOf('\n', start)
    const end = newline === -1 ? text.length : newline
    const name = names.size === 0 ? '' : nameAt(text, start, end)
    if (names.has(name)) {
      const series = parseLine(text.slice(start + name.length, end))
      const all = found.get(name) ?? []
      if (series !== undefined && all.length < mostSeries) found.set(name, all).get(name)?.push(series)
    }
    start = end + 1
  }
  return found
}

const nameEnd = /[{\s]/g

function nameAt(text: string, start: number, end: number): string {
  nameEnd.lastIndex = start
  const stop = nameEnd.exec(text)?.index ?? end
  return text.slice(start, Math.min(stop, end))
}

const label = /\s*([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|(?=\}))/y

/** What follows the name: `{a="b"} 1.5 1700000000000`. */
function parseLine(rest: string): Series | undefined {
  const labels: Record<string, string> = {}
  let position = 0
  if (rest.startsWith('{')) {
    position = 1
    label.lastIndex = position
    for (let match = label.exec(rest); match !== null; match = label.exec(rest)) {
      labels[match[1] ?? ''] = unescape(match[2] ?? '')
      position = label.lastIndex
    }
    while (rest[position] === ' ') position++
    if (rest[position] !== '}') return undefined
    position++
  }
  const [first = ''] = rest.slice(position).trim().split(/\s/)
  const value = first === '' ? NaN : Number(first)
  return Number.isFinite(value) ? { labels, value } : undefined
}

function unescape(text: string): string {
  return text.replaceAll(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char))
}
