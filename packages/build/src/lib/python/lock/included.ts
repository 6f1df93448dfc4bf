import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { digestOf } from '@fairlead/oci'

const MAX_DEPTH = 16
const LINE = /^[ \t]*(-r|--requirement|-c|--constraint)(?:[ \t]*=[ \t]*|[ \t]+|(?=[^\s-]))(\S+)[ \t]*(?:#.*)?$/gm

/**
 * The requirements in `path` with those it includes by `-r` in their place, as pip reads them: from the folder of the file that
 * names them. Constraints (`-c`) stay a file of their own, named by its absolute path. Throws for files that are not there and for ones
 * that include each other.
 */
export async function readWithIncluded(path: string, depth = 0): Promise<string> {
  if (depth > MAX_DEPTH) throw new RangeError(`Cannot read "${path}": its files include each other`)
  const text = await readFile(path, 'utf8')
  let made = ''
  let end = 0
  for (const match of text.matchAll(LINE)) {
    const [line, option = '', name = ''] = match
    // An address is pip's to fetch.
    if (name.includes('://')) continue
    const named = join(dirname(path), name)
    const isConstraint = option === '-c' || option === '--constraint'
    const inPlace = isConstraint ? await constraint(named) : (await readWithIncluded(named, depth + 1)).trimEnd()
    made += text.slice(end, match.index) + inPlace
    end = match.index + line.length
  }
  return made + text.slice(end)
}

/** With the digest of what is in it: what is made of the requirements is kept by their text. Of one that is not there pip tells. */
async function constraint(path: string): Promise<string> {
  const content = await readFile(path).catch(() => undefined)
  return `-c ${JSON.stringify(path)}${content ? ` # ${digestOf(content)}` : ''}`
}
