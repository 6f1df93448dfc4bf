import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, isAbsolute, join, resolve } from 'node:path'

const MAX_EXTENDS = 8

/** `customConditions` that apply to `dir`: of the nearest tsconfig.json up to `root` and of what it extends. */
export async function loadConditions(dir: string, root: string): Promise<string[]> {
  for (let at = dir; ; at = dirname(at)) {
    const path = join(at, 'tsconfig.json')
    if ((await readConfig(path)) !== undefined) return conditionsOf(path, MAX_EXTENDS)
    if (at === root || at === dirname(at)) return []
  }
}

interface TsConfig {
  extends?: string | readonly string[]
  compilerOptions?: { customConditions?: readonly string[] }
}

async function conditionsOf(path: string, depth: number): Promise<string[]> {
  const config = await readConfig(path)
  const own = config?.compilerOptions?.customConditions
  if (own) return [...own]
  for (const parent of [config?.extends ?? []].flat().toReversed()) {
    const parentPath = depth > 0 ? locate(parent, path) : undefined
    const found = parentPath ? await conditionsOf(parentPath, depth - 1) : []
    if (found.length > 0) return found
  }
  return []
}

function locate(name: string, from: string): string | undefined {
  if (name.startsWith('.') || isAbsolute(name)) {
    const path = resolve(dirname(from), name)
    return path.endsWith('.json') ? path : `${path}.json`
  }
  try {
    return createRequire(from).resolve(name)
  } catch {
    return undefined
  }
}

async function readConfig(path: string): Promise<TsConfig | undefined> {
  try {
    return JSON.parse(stripComments(await readFile(path, 'utf8'))) as TsConfig
  } catch {
    return undefined
  }
}

/** tsconfig.json may hold comments and commas before a closing bracket; strings are left alone. */
function stripComments(text: string): string {
  const withoutComments = text.replace(/("(?:\\.|[^"\\])*")|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (_, string) => string ?? '')
  return withoutComments.replace(/("(?:\\.|[^"\\])*")|,(\s*[\]}])/g, (_, string, close) => string ?? close)
}
