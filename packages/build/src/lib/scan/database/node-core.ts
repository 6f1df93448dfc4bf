import semver from 'semver'

import type { OsvAdvisory, OsvEvent } from '../osv.ts'

/** Ecosystem of our own for Node.js itself: OSV has none. Its only package is `node`. */
export const NODE_ECOSYSTEM = 'Node.js'

interface CoreAdvisory {
  cve?: readonly string[]
  ref?: string
  vulnerable?: string
  patched?: string
  overview?: string
  description?: string
  severity?: string
}

/**
 * Advisories of `vuln/core/index.json`, which the security group of Node.js keeps: an object of records with npm ranges
 * in `vulnerable` and `patched`. Ranges become events of versions; empty for JSON of another shape.
 */
export function parseNodeAdvisories(value: unknown, now: Date): OsvAdvisory[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return []
  const found = Object.entries(value as Record<string, CoreAdvisory | null>).map(([key, entry]) =>
    toAdvisory(key, entry, now),
  )
  return found.every((item) => item !== undefined) ? found : []
}

function toAdvisory(key: string, entry: CoreAdvisory | null, now: Date): OsvAdvisory | undefined {
  const vulnerable = entry?.vulnerable
  if (typeof vulnerable !== 'string' || semver.validRange(vulnerable) === null) return undefined
  const patched = typeof entry?.patched === 'string' ? entry.patched : ''
  const cves = (entry?.cve ?? []).filter((id) => typeof id === 'string')
  return {
    id: cves[0] ?? `NODE-CORE-${key}`,
    // The file carries no times; it is as new as its import.
    modified: now.toISOString(),
    aliases: cves.slice(1),
    summary: (entry?.overview ?? entry?.description ?? '').slice(0, 300),
    severity: [],
    rating: entry?.severity,
    url: entry?.ref,
    affected: [
      {
        ecosystem: NODE_ECOSYSTEM,
        name: 'node',
        severity: [],
        ranges: toRanges(vulnerable, patched).map((events) => ({ type: 'SEMVER', events })),
        versions: [],
      },
    ],
  }
}

/** One list of events per alternative of `vulnerable`, ended by the lowest patched version inside of it. */
function toRanges(vulnerable: string, patched: string): OsvEvent[][] {
  const fixes = new semver.Range(patched === '' ? '<0.0.0-0' : patched).set.flatMap((comparators) => {
    const lower = comparators.find(({ operator }) => operator === '>=' || operator === '')
    return lower && lower.semver.version !== undefined ? [lower.semver] : []
  })
  return new semver.Range(vulnerable).set.map((comparators) => {
    const lower = comparators.find(({ operator }) => operator.startsWith('>') || operator === '')
    const upper = comparators.find(({ operator }) => operator.startsWith('<') || operator === '')
    const start = lower?.semver.version ?? '0'
    const fix = fixes
      .filter((version) => comparators.every((one) => one.test(version)))
      .toSorted((a, b) => a.compare(b))[0]
    if (fix) return [{ introduced: start }, { fixed: fix.version }]
    if (upper?.semver.version === undefined) return [{ introduced: start }]
    return [
      { introduced: start },
      upper.operator === '<' ? { fixed: upper.semver.version } : { last_affected: upper.semver.version },
    ]
  })
}
