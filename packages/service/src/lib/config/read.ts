import { constants } from 'node:fs'
import { open, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf } from '../errors.ts'
import type { ConfigOptions, ConfigValues } from './options.ts'

/** The most a file may have: what a ConfigMap can hold in total. */
const maxFileBytes = 1024 * 1024
/** The most files a mounted directory may have. */
const maxFiles = 1000

type Fault = NonNullable<ConfigValues['faults']>[number]

/** Reads the files and mounted directories of a configuration, each directory as of one moment. Never throws: what cannot be read is a fault. */
export async function readSources(options: ConfigOptions): Promise<ConfigValues> {
  const faults: Fault[] = []
  const files: { name: string; text: string }[] = []
  for (const file of options.files ?? []) {
    const { path, optional = false } = typeof file === 'string' ? { path: file } : file
    const text = await attempt(() => readText(path))
    if ('value' in text) files.push({ name: path, text: text.value })
    else if (!optional || codeOf(text.error) !== 'ENOENT') faults.push(toFault(path, text.error))
  }
  const mounted: { name: string; entries: Record<string, string> }[] = []
  for (const dir of [options.dir ?? []].flat()) {
    const { entries, faults: found } = await readDirectory(dir)
    mounted.push({ name: dir, entries })
    faults.push(...found)
  }
  return { files, mounted, faults }
}

/**
 * The files of a mounted directory. The kubelet changes all of them at once by renaming `..data`; when that happens in
 * the middle of reading, the reading begins again, so that old and new never mix.
 */
async function readDirectory(dir: string): Promise<{ entries: Record<string, string>; faults: Fault[] }> {
  for (let attempts = 0; ; attempts++) {
    const before = await versionOf(dir)
    const found = await readEntries(dir)
    if (attempts >= 10 || before === (await versionOf(dir))) return found
  }
}

async function readEntries(dir: string): Promise<{ entries: Record<string, string>; faults: Fault[] }> {
  const listed = await attempt(() => readdir(dir))
  const entries: Record<string, string> = {}
  if ('error' in listed) {
    // Not mounted here, as on a developer's machine; a key that is required for it will be missed by name.
    return { entries, faults: codeOf(listed.error) === 'ENOENT' ? [] : [toFault(dir, listed.error, 'directory')] }
  }
  // `..data` and the folders it points to are the kubelet's; other hidden files are those of editors.
  const names = listed.value.filter((name) => !name.startsWith('.')).toSorted()
  const faults: Fault[] = []
  if (names.length > maxFiles)
    faults.push(toFault(dir, new ReadFault(`it has more than ${maxFiles} files`), 'directory'))
  for (const name of names.slice(0, maxFiles)) {
    const text = await attempt(() => readText(join(dir, name)))
    if ('value' in text) Object.defineProperty(entries, name, { value: text.value, enumerable: true })
    else faults.push(toFault(join(dir, name), text.error))
  }
  return { entries, faults }
}

/** What changes whenever the kubelet has written. */
async function versionOf(dir: string): Promise<string | undefined> {
  const link = await attempt(() => readlink(join(dir, '..data')))
  return 'value' in link ? link.value : undefined
}

class ReadFault extends Error {}

async function readText(path: string): Promise<string> {
  // Without O_NONBLOCK a named pipe would be waited for.
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const stat = await file.stat()
  if (stat.isDirectory()) throw new ReadFault('it is a directory, expected a file')
  if (!stat.isFile()) throw new ReadFault('it is no regular file')
  // Sizes may lie (a file that grows, /proc): what is read decides.
  const chunks: Buffer[] = []
  for (let length = 0; length <= maxFileBytes;) {
    const buffer = Buffer.allocUnsafe(Math.max(4096, Math.min(stat.size + 1, maxFileBytes + 1)))
    const { bytesRead } = await file.read(buffer, 0, buffer.length, null)
    if (bytesRead === 0) break
    chunks.push(buffer.subarray(0, bytesRead))
    length += bytesRead
  }
  const bytes = Buffer.concat(chunks)
  if (bytes.length > maxFileBytes) throw new ReadFault(`it has more than ${maxFileBytes} bytes`)
  if (bytes.includes(0)) throw new ReadFault('it is binary, expected text')
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new ReadFault('it is not UTF-8 text', { cause: error })
  }
}

function toFault(path: string, error: unknown, kind = 'file'): Fault {
  const code = codeOf(error) ?? ''
  const states: Readonly<Record<string, string>> = {
    ENOENT: 'it is not there',
    EACCES: 'this user may not read it',
    EPERM: 'this user may not read it',
    ENOTDIR: 'it is a file, expected a directory',
    ELOOP: 'its symbolic links lead in a circle',
    ENXIO: 'it is no regular file',
  }
  const state =
    error instanceof ReadFault ? error.message : (states[code] ?? `it cannot be read (${code || 'unknown'})`)
  return { origin: `${kind} ${path}`, message: state }
}

async function attempt<T>(work: () => Promise<T>): Promise<{ readonly value: T } | { readonly error: unknown }> {
  try {
    return { value: await work() }
  } catch (error) {
    return { error }
  }
}
