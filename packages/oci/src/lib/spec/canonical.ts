/**
 * JSON with sorted keys and no white space: equal values give equal bytes, so they give equal digests. Numbers and
 * strings are written as ECMAScript does, which is what RFC 8785 asks for. Keys whose value is `undefined` are left out.
 */
export function renderCanonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => renderCanonicalJson(item ?? null)).join(',')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null'
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${renderCanonicalJson(member)}`)
  return `{${members.join(',')}}`
}
