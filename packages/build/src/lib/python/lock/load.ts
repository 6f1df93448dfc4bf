import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { pythonUnusable } from '../../errors.ts'
import { readWithIncluded } from './included.ts'
import { parsePoetryLock } from './poetry.ts'
import type { PyProject } from './poetry.ts'
import { renderRequirements } from './requirements.ts'
import type { PythonLock, TargetEnvironment } from './requirements.ts'
import { parseUvLock } from './uv.ts'

/** What a Python application needs. */
export interface PythonRequirements {
  /** The file it is from. */
  file: string
  /** Names of all that may be needed, a line each. */
  names: string
  /** Text of requirements.txt as it is written, without what it includes. */
  written?: string
  /** In the form of requirements.txt, for one interpreter and machine. Throws `FAIRLEAD_BUILD_PYTHON`. */
  render: (target: TargetEnvironment) => string
}

const MAX_BYTES = 32 << 20

/** From requirements.txt where there is one, else from uv.lock or poetry.lock. Throws `FAIRLEAD_BUILD_PYTHON`. */
export async function loadRequirements(dir: string): Promise<PythonRequirements> {
  const names = new Set(await readdir(dir))
  if (names.has('requirements.txt')) {
    const path = join(dir, 'requirements.txt')
    const text = await readWithIncluded(path).catch((error: unknown) => {
      const hint = 'Check the lines that begin with -r'
      throw pythonUnusable(dir, 'a file that requirements.txt includes cannot be read', hint, error)
    })
    return { file: 'requirements.txt', names: text, written: await readFile(path, 'utf8'), render: () => text }
  }
  if (names.has('uv.lock')) return fromLock(dir, 'uv.lock', (lock, project) => parseUvLock(lock, nameOf(project)))
  if (names.has('poetry.lock')) return fromLock(dir, 'poetry.lock', parsePoetryLock)
  if (names.has('Pipfile.lock')) {
    const hint = 'Write them out: pipenv requirements --hash > requirements.txt'
    throw pythonUnusable(dir, 'its requirements lie in Pipfile.lock', hint)
  }
  const hint =
    'List what it needs with exact versions in requirements.txt, or lock it with uv or Poetry; an empty file says that it needs nothing'
  throw pythonUnusable(dir, 'it has no requirements.txt, uv.lock or poetry.lock', hint)
}

async function fromLock(
  dir: string,
  file: string,
  parse: (lock: unknown, project: PyProject) => PythonLock,
): Promise<PythonRequirements> {
  const refuse = (error: unknown): Error => {
    const hint = `Write it anew with ${file === 'uv.lock' ? 'uv lock' : 'poetry lock'}, or put requirements.txt beside it`
    return pythonUnusable(dir, `its ${file} cannot be used: ${(error as Error).message.split('\n')[0]}`, hint, error)
  }
  try {
    const project = (await readToml(join(dir, 'pyproject.toml')).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return {}
      throw error
    })) as PyProject
    const lock = parse(await readToml(join(dir, file)), project)
    return {
      file,
      names: lock.packages.map(({ name }) => `${name}\n`).join(''),
      render: (target) => {
        try {
          return renderRequirements(lock, target)
        } catch (error) {
          throw refuse(error)
        }
      },
    }
  } catch (error) {
    throw refuse(error)
  }
}

async function readToml(path: string): Promise<unknown> {
  const bytes = await readFile(path)
  if (bytes.byteLength > MAX_BYTES) throw new Error(`it has more than ${MAX_BYTES >> 20} MiB`)
  // Loaded here and not above: most builds have no TOML to read.
  const { parse } = await import('smol-toml')
  return parse(bytes.toString())
}

function nameOf({ project, tool }: PyProject): string | undefined {
  return project?.name ?? tool?.poetry?.name
}
