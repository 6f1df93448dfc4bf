/** One value of the `baggage` header; `metadata` are its properties as they came (`;a=b`, without the first `;`). */
export interface BaggageEntry {
  readonly value: string
  readonly metadata?: string | undefined
}
export type Baggage = ReadonlyMap<string, BaggageEntry>

const maxBytes = 8192
const maxEntries = 180
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const octets = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$/

/**
 * Entries of a `baggage` header (W3C Baggage). Members that are not valid are left out, as is what goes beyond 180
 * entries or 8192 bytes; a key given twice has its last value.
 */
export function parseBaggage(header: string | readonly string[] | undefined): Baggage {
  const entries = new Map<string, BaggageEntry>()
  if (header === undefined) return entries
  const text = typeof header === 'string' ? header : header.join(',')
  let size = 0
  for (const member of text.split(',')) {
    size += member.length + 1
    if (size - 1 > maxBytes || entries.size >= maxEntries) break
    const parsed = parseMember(member)
    if (parsed) entries.set(parsed[0], parsed[1])
  }
  return entries
}

/** Whether a header may be handed on as it is, by its length; entries that are not valid are the reader's to leave out. */
export function isBaggageHeader(header: string): boolean {
  return header.length > 0 && header.length <= maxBytes && header.split(',', maxEntries + 1).length <= maxEntries
}

/** The `baggage` header of entries: at most 180, at most 8192 bytes; those that do not fit are left out. */
export function renderBaggage(baggage: Baggage): string {
  let text = ''
  let count = 0
  for (const [key, { value, metadata }] of baggage) {
    if (!token.test(key) || count >= maxEntries) continue
    const properties = metadata === undefined || metadata === '' ? '' : `;${metadata}`
    const member = `${key}=${encodeValue(value)}${properties}`
    if (text.length + member.length + 1 > maxBytes) continue
    text += text === '' ? member : `,${member}`
    count += 1
  }
  return text
}

function parseMember(member: string): [string, BaggageEntry] | undefined {
  const [pair = '', ...properties] = member.split(';')
  const equals = pair.indexOf('=')
  if (equals === -1) return undefined
  const key = pair.slice(0, equals).trim()
  const value = pair.slice(equals + 1).trim()
  if (!token.test(key) || !octets.test(value)) return undefined
  const metadata = properties.map((property) => property.trim()).join(';')
  try {
    return [
      key,
      metadata === '' ? { value: decodeURIComponent(value) } : { value: decodeURIComponent(value), metadata },
    ]
  } catch {
    // A percent sign that encodes nothing.
    return undefined
  }
}

/** All that is not a baggage-octet, and the percent sign itself. */
function encodeValue(value: string): string {
  return encodeURIComponent(value.toWellFormed())
}
