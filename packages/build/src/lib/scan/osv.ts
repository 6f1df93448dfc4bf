/** What Fairlead reads of an advisory in the OSV format (https://ossf.github.io/osv-schema/, 1.7). */
export interface OsvAdvisory {
  id: string
  modified: string
  published?: string | undefined
  withdrawn?: string | undefined
  aliases: readonly string[]
  summary: string
  severity: readonly OsvSeverity[]
  /** Word of the database's own, such as `HIGH` or `MODERATE`. */
  rating?: string | undefined
  url?: string | undefined
  affected: readonly OsvAffected[]
}

/** One package in an advisory. */
export interface OsvAffected {
  ecosystem: string
  name: string
  severity: readonly OsvSeverity[]
  rating?: string | undefined
  ranges: readonly OsvRange[]
  versions: readonly string[]
}

/** A CVSS vector. */
export interface OsvSeverity {
  type: string
  score: string
}

export interface OsvRange {
  type: string
  events: readonly OsvEvent[]
}

/** Exactly one of them is there. */
export interface OsvEvent {
  introduced?: string | undefined
  fixed?: string | undefined
  last_affected?: string | undefined
  limit?: string | undefined
}

/**
 * Reads one advisory. `undefined` when the JSON is no advisory: `id` or a readable `modified` is missing. Parts that are
 * not of the schema's shape are left out, so that one odd field hides no advisory.
 */
export function parseAdvisory(value: unknown): OsvAdvisory | undefined {
  const record = asRecord(value)
  const id = asText(record['id'])
  const modified = asTime(record['modified'])
  if (id === undefined || id === '' || modified === undefined) return undefined
  return {
    id,
    modified,
    published: asTime(record['published']),
    withdrawn: asTime(record['withdrawn']),
    aliases: texts(record['aliases']),
    summary: bounded(asText(record['summary']) ?? firstLine(asText(record['details']) ?? '')),
    severity: severities(record['severity']),
    rating: asText(asRecord(record['database_specific'])['severity']),
    url: firstUrl(record['references']),
    affected: list(record['affected']).flatMap(parseAffected),
  }
}

function parseAffected(value: unknown): OsvAffected[] {
  const record = asRecord(value)
  const pkg = asRecord(record['package'])
  const ecosystem = asText(pkg['ecosystem'])
  const name = asText(pkg['name'])
  if (ecosystem === undefined || name === undefined) return []
  const specific = asRecord(record['ecosystem_specific'])
  return [
    {
      ecosystem,
      name,
      severity: severities(record['severity']),
      rating:
        asText(asRecord(record['database_specific'])['severity']) ??
        asText(specific['severity']) ??
        asText(specific['urgency']),
      ranges: list(record['ranges']).flatMap(parseRange),
      versions: texts(record['versions']),
    },
  ]
}

function parseRange(value: unknown): OsvRange[] {
  const record = asRecord(value)
  const type = asText(record['type'])
  if (type !== 'SEMVER' && type !== 'ECOSYSTEM') return []
  return [{ type, events: list(record['events']).map((event) => parseEvent(asRecord(event))) }]
}

function parseEvent(record: Readonly<Record<string, unknown>>): OsvEvent {
  const event: OsvEvent = {}
  for (const kind of ['introduced', 'fixed', 'last_affected', 'limit'] as const) {
    const version = asText(record[kind])
    if (version !== undefined) event[kind] = version
  }
  return event
}

function severities(value: unknown): OsvSeverity[] {
  return list(value).flatMap((item) => {
    const { type, score } = asRecord(item)
    return typeof type === 'string' && typeof score === 'string' ? [{ type, score }] : []
  })
}

function firstUrl(value: unknown): string | undefined {
  const references = list(value).map(asRecord)
  const advisory = references.find(({ type }) => type === 'ADVISORY') ?? references[0]
  const url = asText(advisory?.['url'])
  return url !== undefined && /^https?:\/\//.test(url) ? url : undefined
}

const MAX_SUMMARY = 300

function bounded(text: string): string {
  return text.length > MAX_SUMMARY ? `${text.slice(0, MAX_SUMMARY - 1)}…` : text
}

function firstLine(text: string): string {
  return text.trim().split('\n', 1)[0] ?? ''
}

/** RFC 3339 text in one spelling, so that times compare as text. */
function asTime(value: unknown): string | undefined {
  const time = typeof value === 'string' ? Date.parse(value) : Number.NaN
  return Number.isNaN(time) ? undefined : new Date(time).toISOString()
}

function asText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function texts(value: unknown): string[] {
  return list(value).filter((item) => typeof item === 'string')
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
