import type { Tree } from './tree.ts'

/** A text that is not a document; `line` counts from 1. */
export class DocumentFault extends Error {
  readonly line: number | undefined
  constructor(message: string, line?: number) {
    super(message)
    this.name = 'DocumentFault'
    this.line = line
  }
}

/** Deeper than any configuration, and far from the end of the stack. */
export const maxDepth = 64
/** More values than any configuration has. YAML aliases count each time they are used. */
export const maxValues = 20_000

/**
 * Reads JSON (RFC 8259) with the line of each value. Not `JSON.parse`: that keeps the last of two equal keys, knows no
 * lines, and quotes the text, secrets included, in its errors.
 */
export function parseJsonTree(text: string, at: (line: number) => string): Tree {
  let position = 0
  let line = 1
  let count = 0

  const fail = (message: string): never => {
    throw new DocumentFault(message, line)
  }
  const skip = (): void => {
    for (; position < text.length; position++) {
      const character = text[position]
      if (character === '\n') line += 1
      else if (character !== ' ' && character !== '\t' && character !== '\r') return
    }
  }
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = position
    const found = pattern.exec(text)?.[0]
    if (found !== undefined) position += found.length
    return found
  }
  const readText = (): string => {
    // RFC 8259, section 7: control characters must be escaped.
    // oxlint-disable-next-line no-control-regex
    const quoted = take(/"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y)
    // Whatever the pattern takes, JSON.parse takes.
    return quoted === undefined ? fail('expected a text in double quotes') : (JSON.parse(quoted) as string)
  }
  const readValue = (depth: number): Tree => {
    skip()
    count += 1
    if (depth > maxDepth) fail(`it is nested more than ${maxDepth} deep`)
    if (count > maxValues) fail(`it has more than ${maxValues} values`)
    const origin = at(line)
    const character = text[position]
    if (character === '{') return readObject(depth, origin)
    if (character === '[') return readList(depth, origin)
    if (character === '"') return { kind: 'scalar', value: readText(), isText: false, origin }
    const word = take(/-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y)
    if (word === undefined) return fail(position >= text.length ? 'it ends too early' : 'expected a value')
    return { kind: 'scalar', value: JSON.parse(word) as string, isText: false, origin }
  }
  const readObject = (depth: number, origin: string): Tree => {
    const entries = new Map<string, Tree>()
    position += 1
    skip()
    if (take(/\}/y)) return { kind: 'map', entries, origin }
    for (;;) {
      skip()
      const name = readText()
      if (entries.has(name)) fail(`the key ${JSON.stringify(name)} is there twice`)
      skip()
      if (!take(/:/y)) fail('expected ":"')
      entries.set(name, readValue(depth + 1))
      skip()
      if (take(/\}/y)) return { kind: 'map', entries, origin }
      if (!take(/,/y)) fail('expected "," or "}"')
    }
  }
  const readList = (depth: number, origin: string): Tree => {
    const items: Tree[] = []
    position += 1
    skip()
    if (take(/\]/y)) return { kind: 'list', items, origin }
    for (;;) {
      items.push(readValue(depth + 1))
      skip()
      if (take(/\]/y)) return { kind: 'list', items, origin }
      if (!take(/,/y)) fail('expected "," or "]"')
    }
  }

  const tree = readValue(0)
  skip()
  if (position < text.length) fail('something follows the end of the value')
  return tree
}
