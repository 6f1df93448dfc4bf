import { parseVector } from './vector.ts'

/**
 * Scores of the macro vectors (CVSS 4.0 specification, section 8.3). The key is EQ1, EQ2, EQ3 and EQ6; the columns are
 * EQ4 and EQ5: 00, 01, 02, 10 ... 22.
 */
const MACRO_SCORES: Readonly<Record<string, readonly number[]>> = {
  '0000': [10, 9.8, 9.5, 10, 9.3, 9.1, 9.3, 8.9, 8.1],
  '0001': [9.9, 9.5, 9.2, 9.6, 8.7, 8.1, 9, 8, 6.8],
  '0010': [9.8, 9.5, 9, 9.3, 8.9, 8.1, 8.8, 7.8, 6.9],
  '0011': [9.5, 9.2, 8.4, 9.2, 8.1, 6.5, 8, 7, 4.8],
  '0021': [9.2, 8.2, 7.2, 7.9, 6.9, 5, 6.9, 5.5, 2.7],
  '0100': [9.9, 9.5, 9.2, 9.5, 9, 8.4, 9.2, 8.2, 7.2],
  '0101': [9.7, 9.2, 8.5, 9.1, 8.3, 7.1, 8.1, 7.1, 5.3],
  '0110': [9.5, 9.2, 8.5, 9.2, 8, 7, 8.4, 7.1, 5],
  '0111': [9.3, 8.5, 7.3, 8.2, 7.2, 5.9, 7, 5.2, 3],
  '0121': [8.6, 7.5, 5.2, 7.1, 5.2, 2.9, 6.3, 2.9, 1.7],
  '1000': [9.8, 9.4, 9.1, 9.4, 8.6, 7.7, 8.7, 7.4, 6.3],
  '1001': [9.5, 8.7, 8.1, 8.9, 7.4, 6.4, 7.5, 6.3, 4.9],
  '1010': [9.4, 8.8, 7.6, 8.6, 7.4, 5.9, 7.2, 5.7, 5.2],
  '1011': [8.9, 7.7, 6.7, 7.6, 5.8, 5, 5.7, 5.2, 2.5],
  '1021': [8.3, 7, 5.4, 6.5, 5.8, 2.6, 5.3, 2.1, 1.3],
  '1100': [9.5, 8.8, 7.6, 9, 7.5, 6.1, 7.7, 6.8, 5.2],
  '1101': [9, 7.6, 7, 7.7, 6.2, 5.3, 6.6, 5.9, 3],
  '1110': [8.9, 7.6, 6.2, 7.4, 5.7, 4.7, 6.1, 5.7, 2.4],
  '1111': [7.8, 6.7, 5.8, 5.9, 5.7, 2.3, 5.2, 2.9, 1.6],
  '1121': [7.1, 5.9, 3, 5.8, 2.6, 1.5, 2.3, 1.3, 0.6],
  '2000': [9.3, 8.6, 7.5, 8.6, 7.4, 5.6, 7, 5.2, 4],
  '2001': [8.7, 7.2, 5.8, 7.4, 6.1, 3.4, 5.4, 4, 2.2],
  '2010': [8.5, 7.4, 6.2, 7.2, 5.5, 4.6, 5.3, 3.4, 1.9],
  '2011': [7.5, 5.5, 5.1, 5.7, 4.1, 1.9, 3.6, 1.9, 0.8],
  '2021': [6.4, 5.1, 2, 4.7, 2.1, 1.1, 2.4, 0.9, 0.4],
  '2100': [8.8, 7.3, 6, 7.3, 5.9, 4.1, 5.4, 4.5, 2],
  '2101': [7.5, 5.3, 5, 5.5, 4, 2, 4.3, 2.2, 1.1],
  '2110': [7.5, 5.8, 4, 6.1, 4.8, 2, 4.6, 1.7, 0.8],
  '2111': [5.5, 4.5, 2.1, 5.1, 1.8, 0.9, 1.8, 0.7, 0.2],
  '2121': [5.3, 2.4, 1.4, 2.4, 1.2, 0.5, 1, 0.3, 0.1],
}

/** The most severe vectors of each class, most severe first, and how many steps the class spans (section 8.2). */
const EQ1 = [
  { top: ['AV:N PR:N UI:N'], depth: 1 },
  { top: ['AV:A PR:N UI:N', 'AV:N PR:L UI:N', 'AV:N PR:N UI:P'], depth: 4 },
  { top: ['AV:P PR:N UI:N', 'AV:A PR:L UI:P'], depth: 5 },
]
const EQ2 = [
  { top: ['AC:L AT:N'], depth: 1 },
  { top: ['AC:H AT:N', 'AC:L AT:P'], depth: 2 },
]
const EQ3_EQ6: Readonly<Record<string, EqClass>> = {
  '00': { top: ['VC:H VI:H VA:H CR:H IR:H AR:H'], depth: 7 },
  '01': { top: ['VC:H VI:H VA:L CR:M IR:M AR:H', 'VC:H VI:H VA:H CR:M IR:M AR:M'], depth: 6 },
  '10': { top: ['VC:L VI:H VA:H CR:H IR:H AR:H', 'VC:H VI:L VA:H CR:H IR:H AR:H'], depth: 8 },
  '11': {
    top: [
      'VC:L VI:H VA:L CR:H IR:M AR:H',
      'VC:L VI:H VA:H CR:H IR:M AR:M',
      'VC:H VI:L VA:H CR:M IR:H AR:M',
      'VC:H VI:L VA:L CR:M IR:H AR:H',
      'VC:L VI:L VA:H CR:H IR:H AR:M',
    ],
    depth: 8,
  },
  '21': { top: ['VC:L VI:L VA:L CR:H IR:H AR:H'], depth: 10 },
}
const EQ4 = [
  { top: ['SC:H SI:S SA:S'], depth: 6 },
  { top: ['SC:H SI:H SA:H'], depth: 5 },
  { top: ['SC:L SI:L SA:L'], depth: 4 },
]

/** Values from most to least severe. */
const LEVELS: Readonly<Record<string, string>> = {
  AV: 'NALP',
  PR: 'NLH',
  UI: 'NPA',
  AC: 'LH',
  AT: 'NP',
  VC: 'HLN',
  VI: 'HLN',
  VA: 'HLN',
  SC: 'SHLN',
  SI: 'SHLN',
  SA: 'SHLN',
  CR: 'HML',
  IR: 'HML',
  AR: 'HML',
}
const BASE = ['AV', 'AC', 'AT', 'PR', 'UI', 'VC', 'VI', 'VA', 'SC', 'SI', 'SA']

interface EqClass {
  top: readonly string[]
  depth: number
}
type Metric = (name: string) => string

/**
 * Score of a CVSS 4.0 vector (specification document, section 8): the score of its macro vector less the mean distance to
 * the next ones below. Threat and environmental metrics count when the vector has them. `undefined` for other text.
 */
export function scoreCvss4(vector: string): number | undefined {
  const metrics = parseVector(vector, /^CVSS:4\.0$/)
  if (!metrics || BASE.some((name) => !LEVELS[name]?.includes(metrics.get(name) ?? '?'))) return undefined
  const metric: Metric = (name) => {
    const modified = metrics.get(`M${name}`) ?? 'X'
    if (modified !== 'X') return modified
    const value = metrics.get(name) ?? 'X'
    if (value !== 'X') return value
    return name === 'E' ? 'A' : 'H'
  }
  if (['VC', 'VI', 'VA', 'SC', 'SI', 'SA'].every((name) => metric(name) === 'N')) return 0
  return scoreOf(metric)
}

interface Macro {
  eq1: number
  eq2: number
  eq3: number
  eq4: number
  eq5: number
  eq6: number
}

function scoreOf(metric: Metric): number | undefined {
  const macro = classify(metric)
  const score = lookUp(macro)
  if (score === undefined) return undefined
  const { eq1, eq2, eq3, eq4, eq5, eq6 } = macro
  const below = [
    { next: lookUp({ ...macro, eq1: eq1 + 1 }), share: share(metric, EQ1[eq1]) },
    { next: lookUp({ ...macro, eq2: eq2 + 1 }), share: share(metric, EQ2[eq2]) },
    { next: belowEq3(macro), share: share(metric, EQ3_EQ6[`${eq3}${eq6}`]) },
    { next: lookUp({ ...macro, eq4: eq4 + 1 }), share: share(metric, EQ4[eq4]) },
    { next: lookUp({ ...macro, eq5: eq5 + 1 }), share: 0 },
  ]
  const distances = below.flatMap(({ next, share: part }) => (next === undefined ? [] : [(score - next) * part]))
  const mean = distances.length === 0 ? 0 : distances.reduce((a, b) => a + b, 0) / distances.length
  // The small addend undoes the error of binary fractions before rounding half up.
  return Math.round((Math.min(10, Math.max(0, score - mean)) + 1e-6) * 10) / 10
}

function lookUp({ eq1, eq2, eq3, eq4, eq5, eq6 }: Macro): number | undefined {
  return eq4 > 2 || eq5 > 2 ? undefined : MACRO_SCORES[`${eq1}${eq2}${eq3}${eq6}`]?.[eq4 * 3 + eq5]
}

/** EQ3 and EQ6 depend on each other and step down together (section 8.2.1). */
function belowEq3(macro: Macro): number | undefined {
  const { eq3, eq6 } = macro
  if (eq3 === 1 && eq6 === 0) return lookUp({ ...macro, eq6: 1 })
  if (eq3 === 0 && eq6 === 0) {
    return Math.max(lookUp({ ...macro, eq6: 1 }) ?? 0, lookUp({ ...macro, eq3: 1 }) ?? 0)
  }
  return lookUp({ ...macro, eq3: eq3 + 1 })
}

/** How far from the top of its class the vector lies, as a share of the class's depth. */
function share(metric: Metric, eqClass: EqClass | undefined): number {
  if (!eqClass) return 0
  for (const top of eqClass.top) {
    const steps = top.split(' ').map((pair) => {
      const [name = '', value = ''] = pair.split(':')
      const levels = LEVELS[name] ?? ''
      return levels.indexOf(metric(name)) - levels.indexOf(value)
    })
    if (steps.every((step) => step >= 0)) return steps.reduce((a, b) => a + b, 0) / eqClass.depth
  }
  return 0
}

/** The equivalence classes of section 8.1. */
function classify(metric: Metric): Macro {
  const is = (name: string, value: string): boolean => metric(name) === value
  const any = (value: string, ...names: string[]): boolean => names.some((name) => is(name, value))
  const easy = [is('AV', 'N'), is('PR', 'N'), is('UI', 'N')]
  const eq1 = easy.every(Boolean) ? 0 : easy.some(Boolean) && !is('AV', 'P') ? 1 : 2
  const eq3 = is('VC', 'H') && is('VI', 'H') ? 0 : any('H', 'VC', 'VI', 'VA') ? 1 : 2
  const eq4 = any('S', 'SI', 'SA') ? 0 : any('H', 'SC', 'SI', 'SA') ? 1 : 2
  const required = ['C', 'I', 'A'].some((part) => is(`${part}R`, 'H') && is(`V${part}`, 'H'))
  return {
    eq1,
    eq2: is('AC', 'L') && is('AT', 'N') ? 0 : 1,
    eq3,
    eq4,
    eq5: is('E', 'A') ? 0 : is('E', 'P') ? 1 : 2,
    eq6: required ? 0 : 1,
  }
}
