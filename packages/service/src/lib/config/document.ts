import { DocumentFault, parseJsonTree } from './json.ts'
import { parseTomlTree } from './toml.ts'
import type { Tree } from './tree.ts'
import { parseYamlTree } from './yaml.ts'

/** Formats by the ending of a file's name. */
const formats = new Map<string, (text: string, at: (line: number) => string) => Tree | Promise<Tree>>([
  ['.json', parseJsonTree],
  ['.toml', parseTomlTree],
  ['.yaml', parseYamlTree],
  ['.yml', parseYamlTree],
])

/** Whether a file of this name is read as a document. */
export function isDocument(name: string): boolean {
  return formats.has(extensionOf(name))
}

/** Endings of the files that can be read. */
const documentExtensions: readonly string[] = [...formats.keys()]

/**
 * The keys of a document. One without any content has none. `origin` names the file; lines are added to it.
 *
 * @throws {DocumentFault} when it cannot be read as what its name says.
 */
export async function parseDocument(name: string, text: string, origin: string): Promise<Tree> {
  const parse = formats.get(extensionOf(name))
  if (parse === undefined) throw new DocumentFault(`its name ends in none of ${documentExtensions.join(', ')}`)
  const content = withoutMark(text)
  if (content.trim() === '') return { kind: 'map', entries: new Map(), origin }
  const tree = await parse(content, (line) => `${origin}:${line}`)
  if (tree.kind === 'map') return tree
  // A YAML file of nothing but comments.
  if (tree.kind === 'scalar' && tree.value === null) return { kind: 'map', entries: new Map(), origin }
  throw new DocumentFault(`it holds ${tree.kind === 'list' ? 'a list' : 'a single value'}, expected keys`, 1)
}

/** A value that was written as text where several values are wanted: JSON, YAML (`mayBeYaml`), `a,b` or `a=1,b=2`. */
export async function parseStructure(
  text: string,
  origin: string,
  wanted: { readonly isList: boolean; readonly mayBeYaml: boolean },
): Promise<Tree> {
  const content = withoutMark(text).trim()
  const here = (): string => origin
  if (/^[[{]/.test(content)) return parseJsonTree(content, here)
  if (wanted.mayBeYaml && (content.includes('\n') || /^- |^[\w.-]+:(\s|$)/.test(content)))
    return await parseYamlTree(content, here)
  const parts = content.split(',').flatMap((part) => (part.trim() === '' ? [] : [part.trim()]))
  const scalar = (value: string): Tree => ({ kind: 'scalar', value, isText: true, origin })
  if (wanted.isList) return { kind: 'list', items: parts.map(scalar), origin }
  const entries = new Map<string, Tree>()
  for (const part of parts) {
    const [name = '', ...rest] = part.split('=')
    if (rest.length === 0) throw new DocumentFault('expected name=value pairs, or JSON')
    if (entries.has(name.trim())) throw new DocumentFault(`the name ${JSON.stringify(name.trim())} is there twice`)
    entries.set(name.trim(), scalar(rest.join('=').trim()))
  }
  return { kind: 'map', entries, origin }
}

/** The text without a byte order mark. */
function withoutMark(text: string): string {
  return text.startsWith('\uFEFF') ? text.slice(1) : text
}

function extensionOf(name: string): string {
  return /\.[a-z]+$/i.exec(name)?.[0].toLowerCase() ?? ''
}
