import type { OsvEvent, OsvRange } from './osv.ts'
import type { Comparison } from './versions/compare.ts'

/** Whether a version is affected, and by which versions that ends. */
export interface Verdict {
  /** `unknown` when a version cannot be compared. */
  state: 'affected' | 'unaffected' | 'unknown'
  /** Versions that end a range the version lies in, lowest first. */
  fixed: readonly string[]
}

/** The part of an advisory that tells which versions of one package are affected. */
export interface AffectedVersions {
  ranges: readonly OsvRange[]
  versions: readonly string[]
}

/**
 * Evaluates an entry of `affected` for a version (OSV schema 1.7, "Evaluation"): listed versions, or any range of type
 * SEMVER or ECOSYSTEM. Ranges of type GIT say nothing about published versions.
 */
export function judgeVersion(version: string, affected: AffectedVersions, compare: Comparison): Verdict {
  const verdicts = affected.ranges
    .filter(({ type }) => type === 'SEMVER' || type === 'ECOSYSTEM')
    .map((range) => judgeRange(version, range, compare))
  const fixed = verdicts.flatMap((verdict) => verdict.fixed)
  const states = verdicts.map(({ state }) => state)
  if (affected.versions.includes(version) || states.includes('affected')) return { state: 'affected', fixed }
  return { state: states.includes('unknown') ? 'unknown' : 'unaffected', fixed: [] }
}

/** At the same version the end of a range comes before the start of the next one. */
const ORDER = { fixed: 0, limit: 1, introduced: 2, last_affected: 3 } as const

type Bound = { kind: keyof typeof ORDER; version: string }

function judgeRange(version: string, range: OsvRange, compare: Comparison): Verdict {
  const bounds = range.events.flatMap(toBounds)
  const order = (a: string, b: string): number => {
    const difference = a === b ? 0 : a === '0' ? -1 : b === '0' ? 1 : compare(a, b)
    if (difference === undefined) throw new UnknownOrder()
    return difference
  }
  try {
    const sorted = bounds.toSorted((a, b) => order(a.version, b.version) || ORDER[a.kind] - ORDER[b.kind])
    return judgeSorted(version, sorted, order)
  } catch (error) {
    if (error instanceof UnknownOrder) return { state: 'unknown', fixed: [] }
    throw error
  }
}

class UnknownOrder extends Error {}

function judgeSorted(version: string, bounds: readonly Bound[], order: (a: string, b: string) => number): Verdict {
  let isAffected = false
  for (const { kind, version: at } of bounds) {
    const difference = order(version, at)
    if (kind === 'introduced' && difference >= 0) isAffected = true
    else if (kind === 'fixed' && difference >= 0) isAffected = false
    else if (kind === 'last_affected' && difference > 0) isAffected = false
  }
  const limits = bounds.filter(({ kind }) => kind === 'limit')
  if (limits.length > 0 && !limits.some((limit) => order(version, limit.version) < 0)) isAffected = false
  if (!isAffected) return { state: 'unaffected', fixed: [] }
  const next = bounds.find((bound) => bound.kind === 'fixed' && order(bound.version, version) > 0)
  return { state: 'affected', fixed: next ? [next.version] : [] }
}

function toBounds(event: OsvEvent): Bound[] {
  return (Object.keys(ORDER) as (keyof typeof ORDER)[]).flatMap((kind) => {
    const version = event[kind]
    // A limit of "*" stands for infinity and bounds nothing.
    return version === undefined || (kind === 'limit' && version === '*') ? [] : [{ kind, version }]
  })
}
