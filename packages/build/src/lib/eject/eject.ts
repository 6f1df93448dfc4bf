import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { randomUUID } from 'node:crypto'
import { dirname, join, relative, sep } from 'node:path'

import { ejectRefused } from '../errors.ts'
import { nodeImages, renderDockerignore, renderNodeDockerfile } from './dockerfile.ts'
import { planNode } from './plan.ts'
import type { PlanOptions } from './plan.ts'

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

/** Writes nothing: the Dockerfile and what belongs to it, of the service in a folder. Throws `FAIRLEAD_BUILD_…`. */
export async function ejectDockerfile(dir: string, options: EjectOptions = {}): Promise<EjectedService> {
  const plan = await planNode(dir, options)
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
  const { images, unpinned } = await pinImages(nodeImages(plan.nodeVersion), options.pin)
  const dockerfile = join(plan.contextDir, path)
  // In a folder of its own the list is only found beside the Dockerfile, under its name.
  const ignoreFile = below === '' ? join(plan.contextDir, '.dockerignore') : `${dockerfile}.dockerignore`
  return {
    contextDir: plan.contextDir,
    dockerfile,
    files: [
      { path: dockerfile, text: renderNodeDockerfile(plan, { path, images }) },
      { path: ignoreFile, text: renderDockerignore(plan) },
    ],
    unpinned,
  }
}

async function pinImages<T extends object>(
  images: T,
  pin: EjectOptions['pin'],
): Promise<{ images: T; unpinned: string[] }> {
  const unpinned: string[] = []
  const pinned = await Promise.all(
    Object.entries(images as Record<string, string>).map(async ([name, reference]) => {
      const found = await pin?.(reference)
      if (found === undefined) unpinned.push(reference)
      return [name, found ?? reference] as const
    }),
  )
  // Sound: the same keys, with other texts.
  return { images: Object.fromEntries(pinned) as T, unpinned }
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
