const longInteger = /-?\d{16,}/g
const least = -(2n ** 63n)
const greatest = 2n ** 63n - 1n
const longest = String(least).length

/**
 * Warnings of the integers that were rounded when `value` was read from `text`: numbers are doubles here, where Kubernetes keeps
 * integers of 64 bits. What does not fit into those is rounded there as well.
 */
export function roundedIntegers(text: string, value: unknown): string[] {
  const tokens = roundedTokens(text)
  const warnings: string[] = []
  if (tokens.size > 0) warnOf(tokens, value, '', warnings)
  return warnings
}

/** Numbers that are not what was written, with all that was written for them. */
function roundedTokens(text: string): Map<number, Set<string>> {
  const found = new Map<number, Set<string>>()
  for (const [token] of text.matchAll(longInteger)) {
    // No integer of 64 bits has more, and reading many digits exactly takes long.
    if (token.length > longest) continue
    const rounded = Number(token)
    if (String(rounded) === token) continue
    const exact = BigInt(token)
    if (exact < least || exact > greatest) continue
    const same = found.get(rounded)
    if (same === undefined) found.set(rounded, new Set([token]))
    else same.add(token)
  }
  return found
}

/** Each number where it is first; those that are nowhere are digits of a text or of a fraction. One walk for all of them. */
function warnOf(tokens: Map<number, Set<string>>, value: unknown, path: string, warnings: string[]): void {
  if (typeof value === 'number') {
    for (const token of tokens.get(value) ?? []) {
      const why = `integers beyond ${Number.MAX_SAFE_INTEGER} are not kept exactly, a string would be`
      warnings.push(`${path}: ${token} is kept as ${value}: ${why}`)
    }
    tokens.delete(value)
    return
  }
  if (typeof value !== 'object' || value === null) return
  for (const [key, child] of Object.entries(value)) {
    const place = Array.isArray(value) ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`
    warnOf(tokens, child, place, warnings)
  }
}
