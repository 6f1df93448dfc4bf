import { judgeVersion } from './affected.ts'
import { AdvisoryDatabase } from './database/database.ts'
import type { AdvisoryMatch, EcosystemStatus } from './database/database.ts'
import { databaseStatus } from './database/import.ts'
import { findIgnore } from './ignore.ts'
import type { IgnoreList } from './ignore.ts'
import type { Component, Inventory } from './inventory/component.ts'
import { isAtLeast, rate, SEVERITIES } from './severity.ts'
import type { Rating, Severity } from './severity.ts'
import { comparisonFor } from './versions/compare.ts'
import { findStatement } from './vex.ts'
import type { VexStatement } from './vex.ts'

/** An advisory that applies to a component. */
export interface Finding extends Rating {
  /** Of the advisory: `GHSA-…`, `CVE-…`, `DSA-…`. */
  id: string
  aliases: readonly string[]
  summary: string
  url?: string | undefined
  component: Component
  /** Version in which it is mended: of Debian and Alpine packages that of the source package. */
  fixed?: string | undefined
  /** Why it does not count; absent for one that does. */
  excused?: Excuse | undefined
}

/** What makes a finding not count. */
export interface Excuse {
  by: 'ignore' | 'vex' | 'bundle'
  reason: string
  /** Of OpenVEX, such as `component_not_present`. */
  justification?: string | undefined
  /** Day until which it holds. */
  expires?: string | undefined
}

/** The result of a scan. A finding is there or not; what was not looked at stands in `notChecked`. */
export interface ScanReport {
  subject: string
  /** Digest of an image. */
  digest?: string | undefined
  scannedAt: string
  components: number
  /** Most severe first. */
  findings: readonly Finding[]
  /** Sentences: parts of the subject nothing can be said about. Empty only when everything was looked at. */
  notChecked: readonly string[]
  warnings: readonly string[]
  database: { path: string; ecosystems: readonly EcosystemStatus[] }
}

/** How to scan. */
export interface ScanOptions {
  /** Path of the database of advisories. */
  database: string
  /** What the report calls the subject. */
  subject: string
  digest?: string | undefined
  ignore?: IgnoreList | undefined
  vex?: readonly VexStatement[] | undefined
  /** Data older than this counts as not there; default 14 days. */
  maxAgeMs?: number | undefined
  /** Default: the time of the call. */
  now?: Date | undefined
}

const DAY_MS = 86_400_000
const MAX_AGE_MS = 14 * DAY_MS

/**
 * Looks the components up in the database of advisories; needs no network. Ecosystems the database lacks, or has only
 * in an old state, and versions that cannot be compared are named in `notChecked`. Throws
 * `FAIRLEAD_BUILD_SCAN_DATABASE`.
 */
export async function scanInventory(inventory: Inventory, options: ScanOptions): Promise<ScanReport> {
  const now = options.now ?? new Date()
  const { exists, ecosystems } = await databaseStatus(options.database)
  const scan = new Scan(options, now)
  if (exists) {
    using database = new AdvisoryDatabase(options.database)
    for (const component of inventory.components) scan.look(database, component)
    scan.reportAges(ecosystems)
  } else if (inventory.components.length > 0) {
    scan.notChecked.add(`everything: there is no advisory database at ${options.database}`)
  }
  for (const sentence of inventory.unknown) scan.notChecked.add(sentence)
  return {
    subject: options.subject,
    digest: options.digest,
    scannedAt: now.toISOString(),
    components: inventory.components.length,
    findings: merge(scan.findings).toSorted(bySeverity),
    notChecked: [...scan.gaps(), ...scan.notChecked],
    warnings: unusedIgnores(options.ignore, scan.findings),
    database: { path: options.database, ecosystems },
  }
}

/** Findings that count and are at `threshold` or above. */
export function findingsFrom(report: ScanReport, threshold: Severity): Finding[] {
  return report.findings.filter(({ severity, excused }) => !excused && isAtLeast(severity, threshold))
}

class Scan {
  readonly findings: Finding[] = []
  readonly notChecked = new Set<string>()
  readonly #options: ScanOptions
  readonly #now: Date
  readonly #uncovered = new Map<string, number>()
  readonly #used = new Set<string>()

  constructor(options: ScanOptions, now: Date) {
    this.#options = options
    this.#now = now
  }

  look(database: AdvisoryDatabase, component: Component): void {
    const covered = component.ecosystems.filter((ecosystem) => database.covers(ecosystem))
    if (covered.length === 0) {
      const [ecosystem = 'unknown'] = component.ecosystems
      this.#uncovered.set(ecosystem, (this.#uncovered.get(ecosystem) ?? 0) + 1)
    }
    for (const ecosystem of covered) {
      this.#used.add(ecosystem)
      for (const match of database.find(ecosystem, component.source.name)) this.#judge(component, ecosystem, match)
    }
  }

  gaps(): string[] {
    return [...this.#uncovered].map(
      ([ecosystem, count]) =>
        `${ecosystem} (${count} ${count === 1 ? 'component' : 'components'}): the database has no advisories of it`,
    )
  }

  reportAges(ecosystems: readonly EcosystemStatus[]): void {
    const maxAgeMs = this.#options.maxAgeMs ?? MAX_AGE_MS
    for (const { ecosystem, newest, importedAt } of ecosystems) {
      // Old releases get few advisories, so the newest one alone would make fresh data look old; an import of old
      // data would look fresh by its own time alone. The set as a whole is as new as the newest of its releases.
      const family = ecosystems.filter((other) => other.ecosystem.split(':')[0] === ecosystem.split(':')[0])
      const dataAt = family.reduce((latest, other) => (other.newest > latest ? other.newest : latest), newest)
      const ageMs = this.#now.getTime() - Math.min(Date.parse(dataAt), Date.parse(importedAt))
      if (!this.#used.has(ecosystem) || ageMs <= maxAgeMs) continue
      const days = Math.floor(ageMs / DAY_MS)
      this.notChecked.add(
        `${ecosystem} since ${new Date(this.#now.getTime() - ageMs).toISOString().slice(0, 10)}: its advisories are ${days} days old`,
      )
    }
  }

  #judge(component: Component, ecosystem: string, { advisory, affected }: AdvisoryMatch): void {
    const compare = comparisonFor(ecosystem)
    const { version } = component.source
    const verdict = compare ? judgeVersion(version, affected, compare) : { state: 'unknown' as const, fixed: [] }
    if (verdict.state === 'unknown') {
      this.notChecked.add(`${component.name} ${version} against ${advisory.id}: the versions cannot be compared`)
    }
    if (verdict.state !== 'affected') return
    const rating = rate(advisory.id, [...affected.severity, ...advisory.severity], [affected.rating, advisory.rating])
    const { id, aliases, summary, url } = advisory
    const finding = { id, aliases, summary, url, ...rating, component, fixed: verdict.fixed[0] }
    this.findings.push({ ...finding, excused: this.#excuse(finding) })
  }

  #excuse(finding: Finding): Excuse | undefined {
    const { vex = [], ignore, subject, digest } = this.#options
    if (finding.component.presence === 'locked') {
      const reason = 'the package is in the lock file, and none of its code is in the image'
      return { by: 'bundle', reason, justification: 'component_not_present' }
    }
    const statement = findStatement(vex, finding, { subject, digest })
    if (statement) {
      return { by: 'vex', reason: statement.reason ?? statement.status, justification: statement.justification }
    }
    const entry = ignore && findIgnore(ignore, finding)
    return entry ? { by: 'ignore', reason: entry.reason, expires: entry.expires } : undefined
  }
}

/** One entry per component and vulnerability: databases describe the same one under several names. */
function merge(findings: readonly Finding[]): Finding[] {
  const kept: Finding[] = []
  const places = new Map<string, Finding[]>()
  for (const finding of findings) {
    const key = `${finding.component.purl} ${finding.component.presence ?? ''}`
    const beside = places.get(key) ?? []
    const names = new Set([finding.id, ...finding.aliases])
    const same = beside.find((other) => [other.id, ...other.aliases].some((name) => names.has(name)))
    if (same) {
      same.aliases = [...new Set([...same.aliases, ...names])].filter((name) => name !== same.id)
      if (SEVERITIES.indexOf(finding.severity) > SEVERITIES.indexOf(same.severity)) {
        const { severity, score, vector } = finding
        Object.assign(same, { severity, score, vector })
      }
      same.fixed ??= finding.fixed
      same.excused ??= finding.excused
      continue
    }
    const copy = { ...finding }
    places.set(key, [...beside, copy])
    kept.push(copy)
  }
  return kept
}

function bySeverity(a: Finding, b: Finding): number {
  return (
    SEVERITIES.indexOf(b.severity) - SEVERITIES.indexOf(a.severity) ||
    (b.score ?? 0) - (a.score ?? 0) ||
    compareText(a.component.name, b.component.name) ||
    compareText(a.id, b.id)
  )
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}

function unusedIgnores(ignore: IgnoreList | undefined, findings: readonly Finding[]): string[] {
  return (ignore?.entries ?? [])
    .filter((entry) => !findings.some((finding) => findIgnore({ ...ignore, path: '', entries: [entry] }, finding)))
    .map(({ id }) => `${ignore?.path ?? ''}: nothing is found under "${id}" any more; the entry can go`)
}
