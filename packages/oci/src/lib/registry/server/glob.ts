/**
 * A glob of repository names: `*` stands for characters within one part of the name, `**` for any. Matched without
 * regular expressions, so that no pattern takes long.
 */
export function globOf(pattern: string): (name: string) => boolean {
  const tokens = pattern.match(/\*\*|\*|[^*]+/g) ?? []
  return (name) => matches(tokens, 0, name, 0, new Set())
}

function matches(tokens: readonly string[], at: number, name: string, from: number, failed: Set<number>): boolean {
  const token = tokens[at]
  if (token === undefined) return from === name.length
  if (token !== '*' && token !== '**') {
    return name.startsWith(token, from) && matches(tokens, at + 1, name, from + token.length, failed)
  }
  const key = at * 4096 + from
  if (failed.has(key)) return false
  for (let end = from; end <= name.length; end += 1) {
    if (matches(tokens, at + 1, name, end, failed)) return true
    if (token === '*' && name[end] === '/') break
  }
  failed.add(key)
  return false
}
