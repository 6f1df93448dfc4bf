import { readFile, stat } from 'node:fs/promises'
import { basename, join, normalize } from 'node:path'

import { loadRequirements } from '../python/lock/load.ts'
import { findStart } from '../python/start.ts'
import type { PlannedHealth, PlanOptions } from './plan.ts'

/** What a Dockerfile of a Python application says, apart from its wording. Paths are below the build context. */
export interface PythonPlan {
  kind: 'python'
  contextDir: string
  workspace: ''
  name: string
  version: string
  description: undefined
  license: undefined
  /** `3.13`. */
  pythonVersion: string
  /** What the installation of dependencies reads; the first is the file it goes by. */
  manifests: readonly [string, ...string[]]
  /** Whether requirements.txt says which content each package has. */
  hasHashes: boolean
  /** Arguments of the interpreter. */
  args: readonly string[]
  port: number
  health: PlannedHealth
}

const PORT = 8080
const PYTHON_VERSION = '3.13'

/** Reads the folder of a Python application. Throws `FAIRLEAD_BUILD_PYTHON`. */
export async function planPythonFile(dir: string, options: PlanOptions = {}): Promise<PythonPlan> {
  const { file, names, written = '' } = await loadRequirements(dir)
  const isList = file === 'requirements.txt'
  const more = isList ? await included(dir, written) : []
  const start = await findStart(dir, names)
  const project = await readText(join(dir, 'pyproject.toml'))
  const asked = /^\s*(\d+\.\d+)/.exec((await readText(join(dir, '.python-version'))) ?? '')?.[1]
  return {
    kind: 'python',
    contextDir: dir,
    workspace: '',
    name: options.name ?? basename(dir),
    version: /^version\s*=\s*["']([\w.+-]+)["']/m.exec(project ?? '')?.[1] ?? '0.0.0',
    description: undefined,
    license: undefined,
    pythonVersion: asked ?? PYTHON_VERSION,
    manifests: [file, ...more, ...(isList || project === undefined ? [] : ['pyproject.toml'])],
    hasHashes: isList && names.includes('--hash='),
    args: start.args,
    port: options.port ?? PORT,
    health: options.health ?? { kind: 'tcp' },
  }
}

/** Files that requirements name: `-r base.txt`, `-c constraints.txt`, and what those name in turn. */
async function included(dir: string, text: string, seen: readonly string[] = []): Promise<string[]> {
  const found: string[] = [...seen]
  for (const [, name = ''] of text.matchAll(/^\s*(?:-r|-c|--requirement|--constraint)[\s=]*([^\s#]+)/gm)) {
    const path = normalize(name)
    const isHere =
      !path.startsWith('..') && !path.includes('://') && (await stat(join(dir, path)).catch(() => undefined))
    if (!isHere || found.includes(path)) continue
    const below = await included(dir, (await readText(join(dir, path))) ?? '', [...found, path])
    found.splice(0, found.length, ...below)
  }
  return found
}

function readText(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined)
}
