import { readdir } from 'node:fs/promises'
import { basename, join, relative, sep } from 'node:path'

import { programUnusable } from '../errors.ts'
import { findPrograms } from '../program/detect.ts'
import { isCopied } from '../program/files.ts'
import { chooseStatic } from '../static/static.ts'
import type { PlannedHealth, PlanOptions } from './plan.ts'

/** What a Dockerfile of a prebuilt program says, apart from its wording. Paths are below the build context. */
export interface ProgramPlan {
  kind: 'binary'
  contextDir: string
  workspace: ''
  name: string
  version: string
  description: undefined
  license: undefined
  /** Of the program; `${TARGETARCH}` stands for the processor where there is one per processor. */
  program: string
  /** Files beside it, and folders. */
  files: readonly string[]
  folders: readonly string[]
  port: number
  health: PlannedHealth
}

const PORT = 8080
const ARCHITECTURES = ['amd64', 'arm64'] as const
const OWN_FILES = /^(Dockerfile|compose\.yaml|.*\.dockerignore)$/

/** Reads the folder of a static program. Throws `FAIRLEAD_BUILD_PROGRAM` for a program that would not run alone. */
export async function planProgramFile(dir: string, options: PlanOptions = {}): Promise<ProgramPlan> {
  const programs = await findPrograms(dir)
  const found = await Promise.allSettled(
    ARCHITECTURES.map(async (architecture) => [architecture, await chooseStatic(dir, architecture)] as const),
  )
  const chosen = new Map(found.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])))
  const [first] = chosen.values()
  if (first === undefined) throw (found[0] as PromiseRejectedResult).reason
  const entries = (await readdir(dir, { withFileTypes: true })).filter(
    ({ name }) => isCopied(name) && !OWN_FILES.test(name) && !programs.includes(join(dir, name)),
  )
  const toPath = (path: string): string => relative(dir, path).split(sep).join('/')
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  return {
    kind: 'binary',
    contextDir: dir,
    workspace: '',
    name: options.name ?? basename(dir),
    version: '0.0.0',
    description: undefined,
    license: undefined,
    program:
      chosen.size === 1
        ? toPath(first)
        : commonPath(
            dir,
            [...chosen].map(([name, path]) => [name, toPath(path)]),
          ),
    files: entries
      .filter((entry) => entry.isFile())
      .map(({ name }) => name)
      .toSorted(),
    // The folders of programs alone are left out.
    folders: folders.filter((name) => !programs.some((path) => toPath(path).startsWith(`${name}/`))).toSorted(),
    port: options.port ?? PORT,
    health: options.health ?? { kind: 'tcp' },
  }
}

/** `pricing-linux-${TARGETARCH}` of `pricing-linux-amd64` and `pricing-linux-arm64`. */
function commonPath(dir: string, paths: readonly (readonly [string, string])[]): string {
  const names = new Set(paths.map(([architecture, path]) => path.replaceAll(architecture, '${TARGETARCH}')))
  const [name] = names
  if (names.size === 1 && name !== undefined) return name
  const listed = paths.map(([, path]) => `"${path}"`).join(' and ')
  const hint = 'Name them alike but for amd64 and arm64, such as pricing-linux-amd64 and pricing-linux-arm64'
  throw programUnusable(dir, `its programs ${listed} are not named after their processors`, hint)
}
