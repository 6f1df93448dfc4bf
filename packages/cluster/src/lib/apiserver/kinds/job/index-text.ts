/** Checks a list of indexes such as `1,3-5`: how many it names, or what is wrong with it in upstream's words. */
export function checkIndexes(
  text: string,
  completions: number,
): { readonly count: number; readonly problem?: string | undefined } {
  let count = 0
  let previous: number | undefined
  for (const part of text === '' ? [] : text.split(',')) {
    const range = checkRange(part, completions)
    if (typeof range === 'string') return { count: 0, problem: range }
    const [first, last] = range
    if (previous !== undefined && previous >= first) {
      return { count: 0, problem: `non-increasing order, previous: ${previous}, current: ${first}` }
    }
    count += last - first + 1
    previous = last
  }
  return { count }
}

function checkRange(text: string, completions: number): readonly [number, number] | string {
  const parts = text.split('-')
  const quoted = JSON.stringify(text)
  if (parts.length > 2) {
    return `the fragment ${quoted} violates the requirement that an index interval can have at most two parts separated by '-'`
  }
  for (const part of parts) {
    if (!/^\+?\d+$/.test(part)) return `cannot convert string to integer for index: ${JSON.stringify(part)}`
    if (Number(part) >= completions) return `too large index: ${JSON.stringify(part)}`
  }
  const [first = 0, last = first] = parts.map(Number)
  if (parts.length === 2 && first >= last) return `non-increasing order, previous: ${first}, current: ${last}`
  return [first, last]
}
