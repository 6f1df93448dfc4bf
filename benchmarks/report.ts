// What every benchmark prints: a table for people, with --json one object on the last line, with --save a committed result and
// its table in docs/performance.md.
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Figure {
  name: string
  /** Median of `samples`, unless the name says otherwise. */
  value: number
  unit: string
  /** What PLAN promises: at most this for times and sizes, at least this for rates (`atLeast`). */
  target?: number
  atLeast?: boolean
  /** A peer measured in the same run. */
  peer?: { name: string; value: number }
  samples?: readonly number[]
}

export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  const [low = Number.NaN, high = Number.NaN] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]]
  return (low + high) / 2
}

export function figureOf(
  name: string,
  unit: string,
  samples: readonly number[],
  target?: { atMost: number } | { atLeast: number },
): Figure {
  const goal =
    target === undefined
      ? {}
      : 'atMost' in target
        ? { target: target.atMost }
        : { target: target.atLeast, atLeast: true }
  return { name, unit, value: median(samples), samples, ...goal }
}

/** Prints the figures as PLAN's contract asks and saves them under benchmarks/results/ when `--save` is given. */
export function report(name: string, figures: readonly Figure[]): void {
  const machine = {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
  }
  const rows = figures.map((figure) => ({ ...figure, met: isMet(figure) }))
  console.log(
    `${name} on ${machine.cores} x ${machine.cpu}, ${machine.memoryGiB} GiB, Linux ${machine.kernel}, Node ${machine.node}`,
  )
  for (const row of rows) {
    const target =
      row.target === undefined
        ? ''
        : `  target ${row.atLeast === true ? '>=' : '<='} ${row.target} ${row.unit}: ${row.met === true ? 'met' : 'MISSED'}`
    const spread =
      row.samples === undefined || row.samples.length < 2
        ? ''
        : `  (${round(Math.min(...row.samples))} to ${round(Math.max(...row.samples))}, n=${row.samples.length})`
    const peer = row.peer === undefined ? '' : `  ${row.peer.name}: ${round(row.peer.value)} ${row.unit}`
    console.log(`  ${row.name.padEnd(52)} ${String(round(row.value)).padStart(9)} ${row.unit}${spread}${target}${peer}`)
  }
  const result = {
    name,
    machine,
    figures: rows.map((row) => ({
      ...row,
      atLeast: undefined,
      value: round(row.value),
      ...(row.samples === undefined ? {} : { samples: row.samples.map(round) }),
    })),
  }
  if (process.argv.includes('--save')) {
    const folder = join(dirname(fileURLToPath(import.meta.url)), 'results')
    writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(result, null, 2)}\n`)
    publish(name, rows)
  }
  if (process.argv.includes('--json')) console.log(JSON.stringify(result))
}

/** Rewrites the benchmark's table in docs/performance.md, which stands below its marker. */
function publish(name: string, rows: readonly (Figure & { met: boolean | undefined })[]): void {
  const file = join(dirname(fileURLToPath(import.meta.url)), '..', 'docs', 'performance.md')
  const lines = rows.map((row) => {
    const sign = row.atLeast === true ? '>=' : '<='
    const verdict = row.met === true ? 'met' : 'missed'
    const target = row.target === undefined ? '' : `${sign} ${row.target} ${row.unit}: ${verdict}`
    return `| ${row.name} | ${round(row.value)} ${row.unit} | ${target} |`
  })
  const table = ['| figure | measured | target |', '| --- | --- | --- |', ...lines].join('\n')
  const old = new RegExp(`(<!-- ${name} -->\n\n)(?:\\|.*\n)*`)
  writeFileSync(file, readFileSync(file, 'utf8').replace(old, `$1${table}\n`))
}

function isMet(figure: Figure): boolean | undefined {
  if (figure.target === undefined) return undefined
  return figure.atLeast === true ? figure.value >= figure.target : figure.value <= figure.target
}

function round(value: number): number {
  return value >= 1000 ? Math.round(value) : Number(value.toPrecision(4))
}
