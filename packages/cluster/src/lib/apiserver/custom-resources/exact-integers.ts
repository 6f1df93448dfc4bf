const longInteger = /-?\d{16,}/g
const least = -(2n ** 63n)
const greatest = 2n ** 63n - 1n

/**
 * Warnings of the integers that were rounded when `value` was read from `text`: numbers are doubles here, where Kubernetes keeps
 * integers of 64 bits. What does not fit into those is rounded there as well.
 */
export function roundedIntegers(text: string, value: unknown): string[] {
  const warnings = new Set<string>()
  for (const [token] of text.matchAll(longInteger)) {
    const rounded = Number(token)
    if (String(rounded) === token) continue
    const exact = BigInt(token)
    if (exact < least || exact > greatest) continue
    // Digits may as well be part of a text or of a fraction.
    const field = fieldOf(value, rounded)
    if (field === undefined) continue
    const why = `integers beyond ${Number.MAX_SAFE_INTEGER} are not kept exactly, a string would be`
    warnings.add(`${field}: ${token} is kept as ${rounded}: ${why}`)
  }
  return [...warnings]
}

/** Where a number is in a value; undefined when it is nowhere. */
function fieldOf(value: unknown, wanted: number, path = ''): string | undefined {
  if (value === wanted) return path
  if (typeof value !== 'object' || value === null) return undefined
  for (const [key, child] of Object.entries(value)) {
    const place = Array.isArray(value) ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`
    const found = fieldOf(child, wanted, place)
    if (found !== undefined) return found
  }
  return undefined
}
