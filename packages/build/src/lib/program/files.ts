import { readdir, readFile, readlink, stat } from 'node:fs/promises'
import { join } from 'node:path'

import type { TarEntry } from '@fairlead/oci/archive'

const NEVER_COPIED = new Set([
  '.git',
  '.env',
  '.venv',
  'venv',
  '__pycache__',
  'node_modules',
  '.DS_Store',
  '.pytest_cache',
])

/** How to copy a folder into an image. */
export interface FolderOptions {
  created: Date
  /** Path in the image; default `app`. */
  target?: string | undefined
  /** Files that do not come along, by absolute path. */
  isLeftOut?: ((path: string) => boolean) | undefined
  /** Whether bytecode of Python comes along; it is made anew otherwise. */
  withBytecode?: boolean | undefined
}

/** Whether a file or folder of this name comes along at all. */
export function isCopied(name: string): boolean {
  return !NEVER_COPIED.has(name) && !name.startsWith('fairlead.')
}

/** The files of a folder as entries of a layer: of root, readable by all, with one time. */
export async function folderEntries(dir: string, options: FolderOptions): Promise<TarEntry[]> {
  const { created, target = 'app', isLeftOut = () => false } = options
  const mtimeSeconds = Math.floor(created.getTime() / 1000)
  const entries: TarEntry[] = []
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name)
    const inside = `${target}/${entry.name}`
    const isBytecode = entry.name === '__pycache__' && options.withBytecode === true
    if ((!isCopied(entry.name) && !isBytecode) || isLeftOut(path)) continue
    if (entry.isDirectory()) entries.push(...(await folderEntries(path, { ...options, target: inside })))
    else if (entry.isSymbolicLink()) {
      entries.push({ path: inside, type: 'symlink', linkPath: await readlink(path), mtimeSeconds })
    } else if (entry.isFile()) {
      const mode = (await stat(path)).mode & 0o111 ? 0o755 : 0o644
      entries.push({ path: inside, type: 'file', mode, content: await readFile(path), mtimeSeconds })
    }
  }
  return entries
}
