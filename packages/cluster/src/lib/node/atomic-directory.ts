import { randomBytes } from 'node:crypto'
import {
  chmod,
  lchown,
  mkdir,
  readFile,
  readdir,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { dirname, join, normalize } from 'node:path'

import { configInvalid } from '../errors.ts'

/** A file of a projected volume. */
export interface ProjectedFile {
  readonly content: Buffer
  readonly mode: number
  /** Whose the file is. Default: root's. */
  readonly uid?: number | undefined
}

/** Whose a projected volume is. */
export interface Ownership {
  readonly gid?: number | undefined
}

/**
 * Replaces the content of a volume so that a reader sees all of the old or all of the new: files lie in a new folder
 * named by time, `..data` is a link to it that is renamed over the old one, and each name is a link through `..data`.
 */
export async function writeAtomically(
  dir: string,
  files: ReadonlyMap<string, ProjectedFile>,
  ownership: Ownership = {},
): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o755 })
  if (await isSame(dir, files, ownership)) return
  const version = `..${new Date().toISOString().replaceAll(/[-:.TZ]/g, '_')}${randomBytes(4).toString('hex')}`
  const previous = await readlink(join(dir, '..data')).catch(() => undefined)
  try {
    for (const [path, file] of files) await writeOne(join(dir, version, checkPath(path)), file, ownership)
    await mkdir(join(dir, version), { recursive: true })
    await give(join(dir, version), 0o755, ownership)
  } catch (error) {
    // On a full disk, such as it is: what there was stays, and no half of what was to come.
    await rm(join(dir, version), { recursive: true, force: true }).catch(() => {})
    throw error
  }
  await rm(join(dir, '..data_tmp'), { force: true })
  await symlink(version, join(dir, '..data_tmp'))
  await rename(join(dir, '..data_tmp'), join(dir, '..data'))
  await linkNames(dir, files)
  if (previous !== undefined && previous !== version) await rm(join(dir, previous), { recursive: true, force: true })
}

/** Whether there is nothing to change: who watches the volume is not woken for it, as with kubelets. */
async function isSame(dir: string, files: ReadonlyMap<string, ProjectedFile>, ownership: Ownership): Promise<boolean> {
  const names = new Set([...files.keys()].map((path) => checkPath(path).split('/')[0]))
  const shown = (await readdir(dir)).filter((name) => !name.startsWith('..'))
  if (shown.length !== names.size || !shown.every((name) => names.has(name))) return false
  const current = await readdir(join(dir, '..data'), { recursive: true, withFileTypes: true }).catch(() => undefined)
  if (current?.filter((entry) => entry.isFile()).length !== files.size) return false
  const same = await Promise.all(
    [...files].map(([path, file]) => isSameFile(join(dir, '..data', path), file, ownership)),
  )
  return same.every(Boolean)
}

async function isSameFile(path: string, file: ProjectedFile, ownership: Ownership): Promise<boolean> {
  const [content, found] = await Promise.all([readFile(path), stat(path)]).catch(() => [undefined, undefined])
  return content?.equals(file.content) === true && ((found?.mode ?? 0) & 0o7777) === modeOf(file, ownership)
}

/** Group members must be able to read what is theirs. */
function modeOf({ mode }: ProjectedFile, { gid }: Ownership): number {
  return gid === undefined ? mode : mode | ((mode & 0o400) >> 3)
}

async function writeOne(path: string, file: ProjectedFile, ownership: Ownership): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 })
  await writeFile(path, file.content)
  await give(path, modeOf(file, ownership), ownership)
  if (file.uid !== undefined && process.getuid?.() === 0) await lchown(path, file.uid, ownership.gid ?? 0)
}

async function give(path: string, mode: number, { gid }: Ownership): Promise<void> {
  await chmod(path, mode)
  if (gid !== undefined && process.getuid?.() === 0) await lchown(path, 0, gid)
}

/** Links for new names after the switch, so that they never point at nothing; stale ones go last. */
async function linkNames(dir: string, files: ReadonlyMap<string, ProjectedFile>): Promise<void> {
  const names = new Set([...files.keys()].map((path) => checkPath(path).split('/')[0] ?? ''))
  const present = new Set(await readdir(dir))
  for (const name of names) if (!present.has(name)) await symlink(join('..data', name), join(dir, name))
  for (const name of present) if (!name.startsWith('..') && !names.has(name)) await rm(join(dir, name), { force: true })
}

function checkPath(path: string): string {
  const clean = normalize(path)
  const isBad = clean.startsWith('/') || clean.split('/').some((part) => part === '..') || clean.startsWith('..')
  if (isBad || clean === '.') throw configInvalid(`volume path "${path}"`, 'it must stay inside of the volume')
  return clean
}
