// The command line as npm would install it: bundled, without sources beside it.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from '../../tests/e2e/support/machine.ts'

/** Installs the command of this repository below `dir`; answers the path of its launcher. */
export function publishCommand(dir: string): string {
  const modules = join(dir, 'node_modules')
  const installed = join(modules, 'fairlead')
  mkdirSync(installed, { recursive: true })
  execFileSync(process.execPath, [join(repository, 'scripts', 'build-cli.ts'), join(installed, 'dist')])
  for (const file of ['bin', 'package.json']) {
    cpSync(join(repository, 'packages', 'cli', file), join(installed, file), { recursive: true })
  }
  for (const name of ['rolldown', '@vercel']) symlinkSync(join(repository, 'node_modules', name), join(modules, name))
  return join(installed, 'bin', 'fairlead.mjs')
}
