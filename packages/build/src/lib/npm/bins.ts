import { chmod, lstat, mkdir, open, symlink } from 'node:fs/promises'
import { dirname, relative } from 'node:path'

import { LeftToNpm } from './left-to-npm.ts'
import { stagedPath } from './plan.ts'
import type { PlannedPackage } from './plan.ts'

/**
 * Links the programs of packages into the `.bin` beside them and lets everybody execute them, as npm does (bin-links). Throws
 * {@link LeftToNpm} for two of one name, and for a script with a line ending of Windows, which npm mends.
 */
export async function linkPrograms(packages: readonly PlannedPackage[], staging: string): Promise<void> {
  const links = packages.flatMap((one) => one.bin.map(([name, target]) => linkOf(one.path, name, target)))
  if (new Set(links.map(({ link }) => link)).size !== links.length) throw new LeftToNpm('two programs have one name')
  await Promise.all(links.map((one) => linkProgram(one, staging)))
}

interface ProgramLink {
  /** Paths below the root. */
  link: string
  file: string
}

function linkOf(path: string, name: string, target: string): ProgramLink {
  const modules = path.slice(0, path.lastIndexOf('node_modules/') + 'node_modules/'.length)
  return { link: `${modules}.bin/${name}`, file: `${path}/${target}` }
}

async function linkProgram({ link, file }: ProgramLink, staging: string): Promise<void> {
  const [from, to] = [stagedPath(staging, file), stagedPath(staging, link)]
  const found = await lstat(from).catch(() => undefined)
  // npm passes over what the package does not have.
  if (!found) return
  if (!found.isFile()) throw new LeftToNpm(`the program "${file}" is no file`)
  await refuseWindowsLine(from, file)
  await chmod(from, 0o777 & ~process.umask())
  await mkdir(dirname(to), { recursive: true })
  await symlink(relative(dirname(to), from), to)
}

async function refuseWindowsLine(path: string, shown: string): Promise<void> {
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(2048), 0, 2048, 0)
    const head = buffer.toString('latin1', 0, bytesRead)
    if (/^#![^\n]*\r\n/.test(head)) throw new LeftToNpm(`the first line of "${shown}" is to be mended`)
  } finally {
    await file.close()
  }
}
