import { parseVector } from './vector.ts'

const WEIGHTS = {
  AV: { N: 0.85, A: 0.62, L: 0.55, P: 0.2 },
  AC: { L: 0.77, H: 0.44 },
  UI: { N: 0.85, R: 0.62 },
  C: { H: 0.56, L: 0.22, N: 0 },
  I: { H: 0.56, L: 0.22, N: 0 },
  A: { H: 0.56, L: 0.22, N: 0 },
} as const satisfies Record<string, Record<string, number>>
const PRIVILEGES = { U: { N: 0.85, L: 0.62, H: 0.27 }, C: { N: 0.85, L: 0.68, H: 0.5 } } as const
const TEMPORAL: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  E: { X: 1, H: 1, F: 0.97, P: 0.94, U: 0.91 },
  RL: { X: 1, U: 1, W: 0.97, T: 0.96, O: 0.95 },
  RC: { X: 1, C: 1, R: 0.96, U: 0.92 },
}

/**
 * Score of a CVSS 3.0 or 3.1 vector, with the temporal metrics when it has some (specification document 3.1, section
 * 7). Environmental metrics belong to a place where software runs and are not looked at. `undefined` for other text.
 */
export function scoreCvss3(vector: string): number | undefined {
  const metrics = parseVector(vector, /^CVSS:3\.[01]$/)
  if (!metrics) return undefined
  const scope = metrics.get('S')
  if (scope !== 'U' && scope !== 'C') return undefined
  const weigh = (table: Readonly<Record<string, number>>, name: string): number =>
    table[metrics.get(name) ?? ''] ?? Number.NaN
  const of = (name: keyof typeof WEIGHTS): number => weigh(WEIGHTS[name], name)
  const base = 1 - (1 - of('C')) * (1 - of('I')) * (1 - of('A'))
  const impact = scope === 'U' ? 6.42 * base : 7.52 * (base - 0.029) - 3.25 * (base - 0.02) ** 15
  const exploitability = 8.22 * of('AV') * of('AC') * weigh(PRIVILEGES[scope], 'PR') * of('UI')
  if (Number.isNaN(impact + exploitability)) return undefined
  if (impact <= 0) return 0
  const score = roundUp(Math.min((scope === 'U' ? 1 : 1.08) * (impact + exploitability), 10))
  const factors = Object.entries(TEMPORAL).map(([name, table]) => table[metrics.get(name) ?? 'X'] ?? 1)
  return factors.some((factor) => factor !== 1) ? roundUp(factors.reduce((a, b) => a * b, score)) : score
}

/** Appendix A of the specification: to one decimal, upwards, untouched by the error of binary fractions. */
function roundUp(value: number): number {
  const whole = Math.round(value * 100_000)
  return whole % 10_000 === 0 ? whole / 100_000 : (Math.floor(whole / 10_000) + 1) / 10
}
