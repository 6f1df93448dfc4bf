import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

import { isElf } from '../native/elf.ts'

/** What the folder of a service holds. */
export type ProgramKind = 'node' | 'python' | 'binary'

const PYTHON_FILES = ['requirements.txt', 'pyproject.toml', 'uv.lock', 'poetry.lock', 'Pipfile.lock']

/** Tells a folder's kind by its files: a package.json says Node.js, whatever else is there. */
export async function detectKind(dir: string): Promise<ProgramKind> {
  const isThere = (name: string): Promise<boolean> =>
    stat(join(dir, name)).then(
      () => true,
      () => false,
    )
  if (await isThere('package.json')) return 'node'
  const found = await Promise.all(PYTHON_FILES.map(isThere))
  if (found.includes(true)) return 'python'
  return (await findPrograms(dir)).length > 0 ? 'binary' : 'node'
}

/** Native programs of a folder and its `bin`, and those in folders named after a processor. */
export async function findPrograms(dir: string): Promise<string[]> {
  const programs: string[] = []
  for (const folder of ['', 'bin', 'amd64', 'arm64']) {
    const entries = await readdir(join(dir, folder), { withFileTypes: true }).catch(() => [])
    for (const entry of entries) {
      const path = join(dir, folder, entry.name)
      if (entry.isFile() && !/\.so(\.|$)/.test(entry.name) && (await startsAsElf(path))) programs.push(path)
    }
  }
  return programs.toSorted()
}

async function startsAsElf(path: string): Promise<boolean> {
  await using file = await open(path)
  const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0)
  return bytesRead === 4 && isElf(buffer)
}
