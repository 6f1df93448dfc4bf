import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { dirname, join, relative, sep } from 'node:path'

import { ejectRefused } from '../errors.ts'
import { detectKind } from '../program/detect.ts'
import { renderDockerignore } from './dockerfile-lines.ts'
import { nodeImages, nodeProbe, renderNodeDockerfile } from './dockerfile.ts'
import { planNode } from './plan.ts'
import type { NodePlan, PlanOptions } from './plan.ts'
import { programImages, programProbe, renderProgramDockerfile } from './program-dockerfile.ts'
import { planProgramFile } from './program-plan.ts'
import type { ProgramPlan } from './program-plan.ts'
import { pythonImages, pythonProbe, renderPythonDockerfile } from './python-dockerfile.ts'
import { planPythonFile } from './python-plan.ts'
import type { PythonPlan } from './python-plan.ts'

/** A file to be written. */
export interface EjectedFile {
  /** Absolute. */
  path: string
  text: string
}

/** What a Dockerfile of a service is, and what a compose file says of it. */
export interface EjectedService {
  /** Absolute folder to give to `docker build`. */
  contextDir: string
  /** Absolute path of the Dockerfile. */
  dockerfile: string
  files: readonly EjectedFile[]
  /** The command that asks in the container for the health of a service which listens at `port`. */
  probe: (port: number) => readonly string[]
  /** Images without a digest, because their registry did not answer. */
  unpinned: readonly string[]
}

/** How to eject the Dockerfile of a service. */
export interface EjectOptions extends PlanOptions {
  /** Folder to write to; default: the folder of the service. Must be within the build context. */
  outputDir?: string | undefined
  /** `reference@sha256:…` of a reference; `undefined` when it cannot be had. Default: nothing is pinned. */
  pin?: ((reference: string) => Promise<string | undefined>) | undefined
}

/**
 * Writes nothing: the Dockerfile and what belongs to it, of the service in a folder, which holds a Node.js service, a Python
 * application or a program that was built before. Throws `FAIRLEAD_BUILD_…`.
 */
export async function ejectDockerfile(dir: string, options: EjectOptions = {}): Promise<EjectedService> {
  const plan = await planFile(dir, options)
  const outputDir = options.outputDir ?? join(plan.contextDir, plan.workspace)
  const below = relative(plan.contextDir, outputDir).split(sep).join('/')
  if (below.split('/')[0] === '..') {
    throw ejectRefused(
      outputDir,
      `it is not within the build context "${plan.contextDir}"`,
      'Choose a folder within it',
    )
  }
  const path = below === '' ? 'Dockerfile' : `${below}/Dockerfile`
  const { images, unpinned } = await pinImages(plan.images, options.pin)
  const dockerfile = join(plan.contextDir, path)
  // In a folder of its own the list is only found beside the Dockerfile, under its name.
  const ignoreFile = below === '' ? join(plan.contextDir, '.dockerignore') : `${dockerfile}.dockerignore`
  return {
    contextDir: plan.contextDir,
    dockerfile,
    files: [
      { path: dockerfile, text: plan.render(path, images) },
      { path: ignoreFile, text: renderDockerignore(plan.made) },
    ],
    probe: plan.probe,
    unpinned,
  }
}

/** What the kinds of services have in common. */
interface FilePlan {
  contextDir: string
  workspace: string
  /** Images by what they are for. */
  images: Readonly<Record<string, string>>
  render: (path: string, images: Readonly<Record<string, string>>) => string
  /** Names that are made anew in the image, or of no use there. */
  made: readonly string[]
  probe: (port: number) => readonly string[]
}

async function planFile(dir: string, options: PlanOptions): Promise<FilePlan> {
  const kind = await detectKind(dir)
  if (kind === 'python') return planPython(await planPythonFile(dir, options))
  return kind === 'binary'
    ? planProgram(await planProgramFile(dir, options))
    : planNodeFile(await planNode(dir, options))
}

function planNodeFile(plan: NodePlan): FilePlan {
  const { contextDir, workspace, health, outputDir } = plan
  const made = ['node_modules', ...(outputDir === undefined ? [] : [outputDir]), 'coverage', '*.test.ts', '*.test.js']
  const images = nodeImages(plan.nodeVersion)
  return {
    contextDir,
    workspace,
    images,
    made,
    render: (path, pinned) => renderNodeDockerfile(plan, { path, images: { ...images, ...pinned } }),
    probe: () => nodeProbe(health),
  }
}

function planPython(plan: PythonPlan): FilePlan {
  const { contextDir, workspace, health } = plan
  const images = pythonImages(plan)
  return {
    contextDir,
    workspace,
    images,
    made: [
      '__pycache__',
      '*.pyc',
      '.venv',
      'venv',
      '.pytest_cache',
      '.mypy_cache',
      '.ruff_cache',
      '.coverage',
      'htmlcov',
    ],
    render: (path, pinned) => renderPythonDockerfile(plan, { path, images: { ...images, ...pinned } }),
    probe: () => pythonProbe(health),
  }
}

function planProgram(plan: ProgramPlan): FilePlan {
  const { contextDir, workspace, health } = plan
  const images = programImages(plan)
  return {
    contextDir,
    workspace,
    images,
    made: [],
    render: (path, pinned) => renderProgramDockerfile(plan, { path, images: { ...images, ...pinned } }),
    probe: (port) => programProbe(health, port),
  }
}

async function pinImages(
  images: Readonly<Record<string, string>>,
  pin: EjectOptions['pin'],
): Promise<{ images: Record<string, string>; unpinned: string[] }> {
  const unpinned = new Set<string>()
  const pinned = await Promise.all(
    Object.entries(images).map(async ([name, reference]) => {
      const found = await pin?.(reference)
      if (found === undefined) unpinned.add(reference)
      return [name, found ?? reference] as const
    }),
  )
  return { images: Object.fromEntries(pinned), unpinned: [...unpinned] }
}

/**
 * Writes all files, or none when one of them exists and is another: `FAIRLEAD_BUILD_EJECT`, unless `isForced`. Answers the
 * paths that were written; a file that is as it should be is left alone.
 */
export async function writeEjected(files: readonly EjectedFile[], options: { isForced: boolean }): Promise<string[]> {
  const states = await Promise.all(files.map(stateOf))
  const changed = files.filter((_, index) => states[index] !== 'same')
  const obstacle = files.find((_, index) => states[index] === 'other')
  if (obstacle && !options.isForced) {
    throw ejectRefused(
      obstacle.path,
      'the file exists and is not the same',
      'Add --force to replace it, or --output to write elsewhere',
    )
  }
  for (const file of changed) await writeWhole(file)
  return changed.map(({ path }) => path)
}

async function stateOf({ path, text }: EjectedFile): Promise<'absent' | 'same' | 'other'> {
  const found = await stat(path).catch(() => undefined)
  if (!found) return 'absent'
  if (!found.isFile() || found.size !== Buffer.byteLength(text)) return 'other'
  const file = await open(path)
  try {
    return (await file.readFile('utf8')) === text ? 'same' : 'other'
  } finally {
    await file.close()
  }
}

async function writeWhole({ path, text }: EjectedFile): Promise<void> {
  const temporary = `${path}.${randomUUID()}`
  await mkdir(dirname(path), { recursive: true })
  try {
    const file = await open(temporary, 'wx')
    await file.writeFile(text)
    await file.close()
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw ejectRefused(path, 'it cannot be written', 'Choose a folder you may write to with --output', error)
  }
}
