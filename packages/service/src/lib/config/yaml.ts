import type { Alias, Document, Node, Pair, YAMLMap } from 'yaml'
import { DocumentFault, maxDepth, maxValues } from './json.ts'
import type { Tree } from './tree.ts'

/**
 * Reads one YAML 1.2 document with the line of each value. Aliases and merge keys work; every use of an alias counts
 * as if it were written out, which bounds what a small file can become ("billion laughs"), and one inside itself is an
 * error.
 */
export async function parseYamlTree(text: string, at: (line: number) => string): Promise<Tree> {
  const yaml = await import('yaml')
  const lines = new yaml.LineCounter()
  // `prettyErrors` would quote the text, secrets included.
  const options = {
    prettyErrors: false,
    uniqueKeys: true,
    merge: true,
    lineCounter: lines,
    intAsBigInt: false,
  } as const
  const documents = yaml.parseAllDocuments(text, options)
  // An empty stream is told by a property of the list.
  const list: readonly Document.Parsed[] = Array.isArray(documents) ? documents : []
  const lineOf = (offset: number): number => Math.max(1, lines.linePos(offset).line)
  for (const { errors } of list) {
    const [error] = errors
    if (error) throw new DocumentFault(messageFor(error.code, error.message), lineOf(error.pos[0]))
  }
  if (list.length > 1) throw new DocumentFault('it holds more than one document', lineOf(list[1]?.range[0] ?? 0))
  const [document] = list
  let count = 0

  const read = (node: Node | null, depth: number): Tree => {
    const line = lineOf(node?.range?.[0] ?? 0)
    count += 1
    if (depth > maxDepth)
      throw new DocumentFault(`it is nested more than ${maxDepth} deep, or an alias stands inside itself`, line)
    if (count > maxValues) throw new DocumentFault(`it has more than ${maxValues} values, aliases written out`, line)
    const origin = at(line)
    if (node === null) return { kind: 'scalar', value: null, isText: false, origin }
    if (yaml.isAlias(node)) return read(follow(node, line), depth + 1)
    if (yaml.isSeq(node))
      return { kind: 'list', items: node.items.map((item) => read(item as Node | null, depth + 1)), origin }
    if (yaml.isMap(node)) return { kind: 'map', entries: readEntries(node, depth), origin }
    const value: unknown = yaml.isScalar(node) ? node.value : undefined
    if (value !== null && !['string', 'number', 'boolean', 'bigint'].includes(typeof value))
      throw new DocumentFault('it holds a value of a type that configuration does not have', line)
    return { kind: 'scalar', value: value as string, isText: false, origin }
  }
  const follow = (alias: Alias, line: number): Node => {
    const target = document && alias.resolve(document)
    if (target === undefined) throw new DocumentFault(`the alias "${alias.source}" stands for nothing`, line)
    return target
  }
  const readEntries = (map: YAMLMap, depth: number): Map<string, Tree> => {
    const entries = new Map<string, Tree>()
    const merged = new Map<string, Tree>()
    for (const pair of map.items as Pair<Node | null, Node | null>[]) {
      const line = lineOf(pair.key?.range?.[0] ?? map.range?.[0] ?? 0)
      const name: unknown = yaml.isScalar(pair.key) ? pair.key.value : undefined
      // The library gives a plain `<<` a symbol; a quoted one is a key like any.
      const isMerge =
        typeof name === 'symbol' || (name === '<<' && yaml.isScalar(pair.key) && pair.key.type === 'PLAIN')
      if (isMerge) {
        for (const [key, value] of mergeSource(pair.value, depth, line)) if (!merged.has(key)) merged.set(key, value)
        continue
      }
      if (!['string', 'number', 'boolean'].includes(typeof name))
        throw new DocumentFault('a key is not a plain text', line)
      const value = read(pair.value, depth + 1)
      // The line of a key is the better one to look at: what is below it may begin on the next.
      entries.set(String(name), { ...value, origin: at(line) })
    }
    for (const [key, value] of merged) if (!entries.has(key)) entries.set(key, value)
    return entries
  }
  const mergeSource = (node: Node | null, depth: number, line: number): ReadonlyMap<string, Tree> => {
    const source = read(node, depth + 1)
    const maps = source.kind === 'list' ? source.items : [source]
    const merged = new Map<string, Tree>()
    for (const map of maps) {
      if (map.kind !== 'map') throw new DocumentFault('"<<" merges something that has no keys', line)
      for (const [key, value] of map.entries) if (!merged.has(key)) merged.set(key, value)
    }
    return merged
  }
  return read(document?.contents ?? null, 0)
}

/** Messages of the library that would quote the text are replaced. */
function messageFor(code: string, message: string): string {
  if (code === 'DUPLICATE_KEY') return 'a key is there twice'
  const [first = ''] = message.split('\n')
  return /["'`:]/.test(first) || first === ''
    ? `it is no YAML (${code.toLowerCase().replaceAll('_', ' ')})`
    : lower(first)
}

function lower(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}
