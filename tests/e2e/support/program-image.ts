// Images of one-file programs, built as a user builds them.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Home } from './machine.ts'

/** A program without dependencies: the text of an ES module. */
export interface Program {
  readonly name: string
  readonly source: string
  /** Default `1.0.0`. */
  readonly version?: string | undefined
}

/** Writes the project and builds its image with the store of `home`; returns the reference that pods name. */
export async function buildProgram(home: Home, program: Program): Promise<string> {
  const dir = writeProgram(home.dir, program)
  const built = JSON.parse((await home.fairleadOk(['build', dir, '--json'])).stdout)
  const first: { reference: string } = Array.isArray(built.images) ? built.images[0] : built
  return first.reference
}

/** Writes the project into a folder of `parent`, which it returns. */
export function writeProgram(parent: string, { name, source, version = '1.0.0' }: Program): string {
  const dir = join(parent, `${name}-${version}`)
  const about = { name, version }
  const lock = { ...about, lockfileVersion: 3, requires: true, packages: { '': about } }
  mkdirSync(dir)
  writeFileSync(join(dir, 'main.js'), source)
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ ...about, type: 'module', main: 'main.js' }))
  writeFileSync(join(dir, 'package-lock.json'), JSON.stringify(lock))
  return dir
}
