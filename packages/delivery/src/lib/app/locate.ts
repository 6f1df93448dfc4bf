/** Path of keys to a value in a definition, from the outermost. */
export type KeyPath = readonly (string | number)[]

/**
 * Line (from 1) at which the key at the end of `path` is written in `source`, a TypeScript, JavaScript or JSON text.
 * Reads braces and keys only, so a value built elsewhere is found by the longest tail of its path, or not at all.
 */
export function locateKey(source: string, path: KeyPath): number | undefined {
  const wanted = path.map(String)
  const keys = listKeys(source)
  for (let from = 0; from < wanted.length; from++) {
    const tail = wanted.slice(from)
    const found = keys.filter((key) => endsWith(key.path, tail))
    if (found.length === 1 || (from === 0 && found.length > 0)) return found[0]?.line
  }
  return undefined
}

function endsWith(path: readonly string[], tail: readonly string[]): boolean {
  const offset = path.length - tail.length
  return offset >= 0 && tail.every((key, index) => path[offset + index] === key)
}

const token =
  /(?<skip>\/\/[^\n]*|\/\*[\s\S]*?\*\/|`(?:\\[\s\S]|[^`\\])*`)|(?<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|(?<word>[\p{ID_Start}$_][\p{ID_Continue}$]*|\d+)|(?<mark>[{}[\](),;:])|(?<line>\n)|[^\n]/gu

/** Every `key:` of every object literal, with the keys of the objects around it. */
function listKeys(source: string): { path: string[]; line: number }[] {
  const keys: { path: string[]; line: number }[] = []
  const around: (string | undefined)[] = []
  let line = 1
  let candidate: { name: string; line: number } | undefined
  let current: string | undefined
  for (const { groups = {}, 0: text } of source.matchAll(token)) {
    const { skip, text: quoted, word, mark } = groups
    if (text === '\n' || skip !== undefined) {
      line += text.split('\n').length - 1
    } else if (quoted !== undefined || word !== undefined) {
      candidate = { name: quoted === undefined ? text : quoted.slice(1, -1), line }
    } else if (mark === ':' && candidate) {
      current = candidate.name
      keys.push({ path: [...around.filter((key) => key !== undefined), current], line: candidate.line })
      candidate = undefined
    } else if (mark === '{' || mark === '[' || mark === '(') {
      around.push(mark === '(' ? undefined : current)
      current = candidate = undefined
    } else if (mark === '}' || mark === ']' || mark === ')') {
      around.pop()
      current = candidate = undefined
    } else if (mark === ',' || mark === ';') {
      current = candidate = undefined
    }
  }
  return keys
}
