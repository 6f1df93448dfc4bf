import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

import type { LockedPackage } from './lockfile.ts'

/** Folders for tests: files by path, removed at the end of the block. */
export interface ProjectFixture extends AsyncDisposable {
  dir: string
  write(files: Readonly<Record<string, string | Buffer>>): Promise<void>
}

/** A folder holding `files`. */
export async function createFixture(files: Readonly<Record<string, string | Buffer>>): Promise<ProjectFixture> {
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'fairlead-build-')))
  const write = async (more: Readonly<Record<string, string | Buffer>>): Promise<void> => {
    for (const [path, content] of Object.entries(more)) {
      await mkdir(dirname(join(dir, path)), { recursive: true })
      await writeFile(join(dir, path), content)
    }
  }
  await write(files)
  return { dir, write, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) }
}

/** The text of a lock file, and of npm's record that all of it is installed. */
export function lockFiles(packages: Readonly<Record<string, LockedPackage>>): Record<string, string> {
  const text = JSON.stringify({ lockfileVersion: 3, packages })
  return { 'package-lock.json': text, 'node_modules/.package-lock.json': text }
}
