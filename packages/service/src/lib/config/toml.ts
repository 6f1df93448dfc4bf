import { DocumentFault, maxDepth, maxValues } from './json.ts'
import type { Tree } from './tree.ts'

/** Reads TOML 1.0 with the line of each key that stands in a table; the library tells no lines, so they are looked for. */
export async function parseTomlTree(text: string, at: (line: number) => string): Promise<Tree> {
  const { parse, TomlError } = await import('smol-toml')
  let plain: unknown
  try {
    plain = parse(text, { maxDepth, integersAsBigInt: false })
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    // The first line says what is wrong; the others quote the text, secrets included.
    const [first = 'it is no TOML'] = error.message.split('\n')
    throw new DocumentFault(first.replace(/^Invalid TOML document: /, ''), error.line)
  }
  const lines = findLines(text)
  let count = 0
  const read = (value: unknown, path: readonly string[], line: number): Tree => {
    count += 1
    if (count > maxValues) throw new DocumentFault(`it has more than ${maxValues} values`, line)
    const here = lines.get(JSON.stringify(path)) ?? line
    const origin = at(here)
    if (Array.isArray(value))
      return { kind: 'list', items: value.map((item, index) => read(item, [...path, String(index)], here)), origin }
    // TOML knows dates; as configuration they are what was written.
    if (value instanceof Date) return { kind: 'scalar', value: value.toISOString(), isText: false, origin }
    if (typeof value === 'object' && value !== null) {
      const entries = Object.entries(value).map(([name, item]) => [name, read(item, [...path, name], here)] as const)
      return { kind: 'map', entries: new Map(entries), origin }
    }
    return { kind: 'scalar', value: value as string, isText: false, origin }
  }
  return read(plain, [], 1)
}

/** Where keys stand, by their path: table headers and `key = ` at the beginning of a line. */
function findLines(text: string): ReadonlyMap<string, number> {
  const lines = new Map<string, number>()
  const add = (path: readonly string[], line: number): void => {
    const id = JSON.stringify(path)
    if (!lines.has(id)) lines.set(id, line)
  }
  let table: readonly string[] = []
  for (const [index, content] of text.split('\n').entries()) {
    const header = /^\s*\[\[?([^\]]+)\]\]?/.exec(content)?.[1]
    const key = /^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=/.exec(content)?.[1]
    if (header !== undefined) {
      table = splitKey(header)
      add(table, index + 1)
    } else if (key !== undefined) add([...table, ...splitKey(key)], index + 1)
  }
  return lines
}

function splitKey(text: string): string[] {
  return (text.match(/[\w-]+|"[^"]*"|'[^']*'/g) ?? []).map((part) => part.replaceAll(/^["']|["']$/g, ''))
}
