/** True when `pattern` (`*`, `*.example.com`, a full name) stands for `name`. A wildcard stands for one label or more, as in Gateway API. */
export function hostMatches(pattern: string, name: string): boolean {
  if (pattern === '*' || pattern === name) return true
  return pattern.startsWith('*.') && name.length >= pattern.length && name.endsWith(pattern.slice(1))
}

/** The names both patterns stand for, as a pattern; undefined when there is none. Gateway API, HTTPRouteSpec.hostnames. */
export function intersectHosts(a: string, b: string): string | undefined {
  if (a === '*' || a === b) return b
  if (b === '*') return a
  const isAWide = a.startsWith('*.') && (!b.startsWith('*.') || a.length <= b.length)
  const [wide, narrow] = isAWide ? [a, b] : [b, a]
  return wide.startsWith('*.') && narrow.endsWith(wide.slice(1)) && narrow !== wide.slice(1) ? narrow : undefined
}

/** Orders patterns from the most specific: full names, then wildcards from the longest, then `*`. */
export function compareHosts(a: string, b: string): number {
  return rankOf(b) - rankOf(a) || b.length - a.length || (a < b ? -1 : a > b ? 1 : 0)
}

function rankOf(pattern: string): number {
  return pattern === '*' ? 0 : pattern.startsWith('*.') ? 1 : 2
}

/** The entry for `name` among entries by pattern: its own, that of the longest wildcard, that of `*`. */
export function findHost<T>(entries: ReadonlyMap<string, T>, name: string): T | undefined {
  const own = entries.get(name)
  if (own !== undefined) return own
  for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
    const found = entries.get(`*${name.slice(dot)}`)
    if (found !== undefined) return found
  }
  return entries.get('*')
}

/** The name in a Host header or `:authority`, without port, in lower case. */
export function hostOf(authority: string): string {
  const name = authority.startsWith('[')
    ? authority.slice(0, authority.indexOf(']') + 1)
    : (authority.split(':', 1)[0] ?? '')
  return name.toLowerCase()
}
