import { mkdir, stat, writeFile } from 'node:fs/promises'
import type { Stats } from 'node:fs'

import { configInvalid } from '../errors.ts'

interface PathType {
  readonly name: string
  is(found: Stats): boolean
  /** What is made where nothing is. */
  readonly create?: (path: string) => Promise<unknown>
}

const makeDirectory = (path: string): Promise<unknown> => mkdir(path, { recursive: true, mode: 0o755 })
const makeFile = (path: string): Promise<unknown> => writeFile(path, '', { flag: 'a', mode: 0o644 })
const directory = { name: 'directory', is: (found: Stats): boolean => found.isDirectory() }
const file = { name: 'file', is: (found: Stats): boolean => found.isFile() }

const types: ReadonlyMap<string, PathType> = new Map<string, PathType>([
  // Without a type a missing path is made, as container runtimes do for a bind mount, and anything will do.
  ['', { name: 'path', is: () => true, create: makeDirectory }],
  ['Directory', directory],
  ['DirectoryOrCreate', { ...directory, create: makeDirectory }],
  ['File', file],
  ['FileOrCreate', { ...file, create: makeFile }],
  ['Socket', { name: 'socket file', is: (found) => found.isSocket() }],
  ['CharDevice', { name: 'character device', is: (found) => found.isCharacterDevice() }],
  ['BlockDevice', { name: 'block device', is: (found) => found.isBlockDevice() }],
])

/**
 * Makes sure that `path` of this machine is what a `hostPath` volume says by `type`; returns it. Throws
 * `FAIRLEAD_CLUSTER_POD_CONFIG` when it is something else.
 */
export async function prepareHostPath(path: string, type: string): Promise<string> {
  const wanted = types.get(type)
  if (wanted === undefined) throw configInvalid(`host path "${path}"`, `${type} is an invalid volume type`)
  const found = await stat(path).catch(() => undefined)
  if (found === undefined && wanted.create !== undefined) await wanted.create(path)
  else if (found === undefined || !wanted.is(found)) {
    throw configInvalid(`host path "${path}"`, `hostPath type check failed: ${path} is not a ${wanted.name}`)
  }
  return path
}
