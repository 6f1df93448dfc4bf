import { readFile } from 'node:fs/promises'
import { basename, dirname, relative } from 'node:path'

import { programUnusable } from '../errors.ts'
import { interpreterOf, parseElf } from '../native/elf.ts'
import { folderEntries } from '../program/files.ts'
import { findPrograms } from '../program/detect.ts'
import type { PlanContext, ProgramPlan } from '../program/program.ts'

/**
 * A program that was built before and needs nothing of a system: it goes on certificates, time zones and accounts alone, with
 * the other files of its folder beside it. Throws `FAIRLEAD_BUILD_PROGRAM`.
 */
export async function planStatic(context: PlanContext): Promise<ProgramPlan> {
  const { dir, architecture, created, name } = context
  const program = await choose(dir, architecture)
  const programs = await findPrograms(dir)
  const content = await readFile(program)
  check(program, content, architecture)
  const target = `app/${name}`
  return {
    base: { isStatic: true, programs: undefined, packages: [] },
    async layers() {
      const files = await folderEntries(dir, { created, isLeftOut: (path) => programs.includes(path) })
      const entry = {
        path: target,
        type: 'file' as const,
        mode: 0o755,
        content,
        mtimeSeconds: Math.floor(created.getTime() / 1000),
      }
      return [{ title: 'application', entries: [...files.filter(({ path }) => path !== target), entry] }]
    },
    entrypoint: [`/${target}`],
    env: {},
    healthcheck: undefined,
  }
}

/** Path of the program in a folder that runs alone on a processor. Throws `FAIRLEAD_BUILD_PROGRAM`. */
export async function chooseStatic(dir: string, architecture: Architecture): Promise<string> {
  const program = await choose(dir, architecture)
  check(program, await readFile(program), architecture)
  return program
}

type Architecture = PlanContext['architecture']

function check(path: string, bytes: Buffer, architecture: Architecture): void {
  const hint = 'Link it statically: CGO_ENABLED=0 for Go, a musl target for Rust, -static for C'
  const interpreter = interpreterOf(bytes)
  const { needed } = parseElf(bytes)
  if (interpreter !== undefined)
    throw programUnusable(path, `it is loaded by "${interpreter}", which the image lacks`, hint)
  if (needed.length > 0) throw programUnusable(path, `it needs the libraries ${needed.join(', ')}`, hint)
  const found = parseElf(bytes).architecture
  if (found !== architecture) {
    throw programUnusable(
      path,
      `it is for ${found ?? 'another processor'}, expected ${architecture}`,
      `Build it for linux/${architecture}`,
    )
  }
}

const OTHER_NAMES = { amd64: /(^|[-_.])(amd64|x86[-_]64)$/, arm64: /(^|[-_.])(arm64|aarch64)$/ }

/** Named after the processor, or in a folder named so; else the only one for it. */
async function choose(dir: string, architecture: Architecture): Promise<string> {
  const programs = await findPrograms(dir)
  const named = programs.filter(
    (path) => OTHER_NAMES[architecture].test(basename(path)) || basename(dirname(path)) === architecture,
  )
  const [first, second] = named.length > 0 ? named : programs.filter((path) => !isNamedForOther(path))
  if (first === undefined) {
    throw programUnusable(dir, `it holds no program for ${architecture}`, `Add one named NAME-linux-${architecture}`)
  }
  if (second !== undefined) {
    const names = [first, second].map((path) => `"${relative(dir, path)}"`).join(' and ')
    throw programUnusable(dir, `it holds several programs: ${names}`, 'Leave one in the folder')
  }
  return first

  function isNamedForOther(path: string): boolean {
    const other = architecture === 'amd64' ? 'arm64' : 'amd64'
    return OTHER_NAMES[other].test(basename(path)) || basename(dirname(path)) === other
  }
}
