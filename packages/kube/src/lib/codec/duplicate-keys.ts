/**
 * Paths of the keys a JSON text gives twice in one object (`spec.replicas`), each once, in the order of the text.
 *
 * `JSON.parse` silently keeps the last one. The text must be valid JSON: parse it first.
 */
export function findDuplicateKeys(text: string): string[] {
  const found = new Set<string>()
  const stack: Scope[] = []
  let index = 0
  while (index < text.length) {
    const char = text[index]
    if (char === '"') {
      const end = endOfString(text, index)
      const scope = stack.at(-1)
      if (scope?.keys !== undefined && scope.isAtKey) {
        const key = JSON.parse(text.slice(index, end)) as string
        scope.isAtKey = false
        scope.name = key
        if (scope.keys.has(key)) found.add(pathOf(stack))
        scope.keys.add(key)
      }
      index = end
      continue
    }
    if (char === '{') stack.push({ keys: new Set(), name: '', position: 0, isAtKey: true })
    else if (char === '[') stack.push({ keys: undefined, name: '', position: 0, isAtKey: false })
    else if (char === '}' || char === ']') stack.pop()
    else if (char === ',') advance(stack.at(-1))
    index++
  }
  return [...found]
}

/**
 * Whether `text`, of which `value` was parsed, may give a key twice; false is certain. Several times cheaper than
 * {@link findDuplicateKeys}: keys of the value are counted against quotes with a colon in the text.
 */
export function mayRepeatKeys(text: string, value: unknown): boolean {
  if (/"\s+:/.test(text)) return true
  let colons = 0
  for (let at = text.indexOf('":'); at >= 0; at = text.indexOf('":', at + 2)) colons += 1
  return colons !== countKeys(value)
}

function countKeys(value: unknown): number {
  // No recursion: how deep a client nests is not bounded here.
  const left = [value]
  let count = 0
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    if (typeof next !== 'object' || next === null) continue
    if (Array.isArray(next)) {
      for (const item of next) if (typeof item === 'object' && item !== null) left.push(item)
      continue
    }
    const object = next as Record<string, unknown>
    // What was parsed inherits nothing that can be enumerated.
    for (const key in object) {
      count += 1
      const child = object[key]
      if (typeof child === 'object' && child !== null) left.push(child)
    }
  }
  return count
}

interface Scope {
  /** Undefined for a list. */
  keys: Set<string> | undefined
  name: string
  position: number
  isAtKey: boolean
}

function advance(scope: Scope | undefined): void {
  if (scope === undefined) return
  scope.position++
  scope.isAtKey = scope.keys !== undefined
}

/** Index after the closing quote. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1)
  while (end >= 0 && isEscaped(text, end)) end = text.indexOf('"', end + 1)
  return end < 0 ? text.length : end + 1
}

function isEscaped(text: string, index: number): boolean {
  let count = 0
  while (text[index - 1 - count] === '\\') count++
  return count % 2 === 1
}

function pathOf(stack: readonly Scope[]): string {
  return stack
    .map((scope, depth) => {
      if (scope.keys === undefined) return `[${scope.position}]`
      return depth === 0 ? scope.name : `.${scope.name}`
    })
    .join('')
}
