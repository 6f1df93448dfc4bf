/** How a spec of the suite ended. */
export interface SpecResult {
  readonly name: string
  /** The special interest group that owns it, such as `sig-node`. */
  readonly sig: string
  readonly passed: boolean
  readonly seconds: number
  /** The first lines of what went wrong; empty when nothing did. */
  readonly failure: string
}

/** Reads the specs that ran from a JUnit report as Ginkgo writes it. */
export function parseReport(xml: string): readonly SpecResult[] {
  return [...xml.matchAll(/<testcase ([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)].flatMap(([, head = '', body = '']) => {
    const attribute = (name: string): string => unescape(new RegExp(`\\b${name}="([^"]*)"`).exec(head)?.[1] ?? '')
    const status = attribute('status')
    const name = attribute('name').replace(/^\[It\] /, '')
    if (status === 'skipped' || (status === 'passed' && !attribute('name').startsWith('[It]'))) return []
    const message = /<(?:failure|error) message="([^"]*)"/.exec(body)?.[1] ?? ''
    const log = /\[FAILED\] ([\s\S]{0,600})/.exec(body)?.[1] ?? ''
    const failure = status === 'passed' ? '' : unescape(message || log || status)
    const sig = /\[(sig-[a-z-]+)\]/.exec(name)?.[1] ?? 'suite'
    return [{ name, sig, passed: status === 'passed', seconds: Number(attribute('time')), failure }]
  })
}

/** Counts for each group and the names of what failed, as text for a terminal. */
export function renderReport(results: readonly SpecResult[]): string {
  const groups = Map.groupBy(
    results.toSorted((a, b) => a.sig.localeCompare(b.sig)),
    ({ sig }) => sig,
  )
  const counts = [...groups].map(([sig, specs]) => {
    const passed = specs.filter((each) => each.passed).length
    return `${sig.padEnd(22)} ${String(passed).padStart(4)} of ${specs.length}`
  })
  const red = results.filter(({ passed }) => !passed)
  const failures = red.map(({ name, seconds, failure }) => {
    const lines = failure.split('\n').filter((line) => line.trim() !== '')
    return [`--- ${name} (${Math.round(seconds)} s)`, ...lines.slice(0, 12).map((line) => `    ${line}`)].join('\n')
  })
  const total = `${results.length - red.length} of ${results.length} passed`
  return [...counts, total, '', ...failures, ''].join('\n')
}

function unescape(text: string): string {
  const names: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }
  return text.replaceAll(
    /&(?:#x([0-9a-fA-F]+)|#(\d+)|(\w+));/g,
    (all, hex?: string, decimal?: string, name?: string) => {
      if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16))
      if (decimal !== undefined) return String.fromCodePoint(Number(decimal))
      return names[name ?? ''] ?? all
    },
  )
}
