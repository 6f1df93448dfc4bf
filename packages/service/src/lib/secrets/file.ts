import { statSync, watch } from 'node:fs'
import type { FSWatcher } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { codeOf } from '../errors.ts'
import type { SecretDriver } from './driver.ts'
import { ProviderFault } from './fault.ts'

const maxBytes = 1024 * 1024

/**
 * `file:///run/secrets/db-password`, or `file:///etc/secrets/db#password` for a file in a mounted folder. One line break at the end of
 * the file does not belong to the secret, unless `?raw=true`.
 */
export function createFileDriver(): SecretDriver {
  return {
    provider: 'the file system',
    async read(reference) {
      const { field, name, options } = reference
      const isFile = field === undefined || !isName(field) || !(await isFolder(name))
      const reading = await readSecretFile(isFile ? name : join(name, field), options['raw'] === 'true')
      return isFile ? reading : { ...reading, value: { [field]: reading.value } }
    },
    watch: (reference, changed) => watchFolder(reference.name, reference.field, changed),
  }
}

/** Whether a field may be a file in a folder, and leads nowhere else. */
function isName(field: string): boolean {
  return !field.includes('/') && field !== '..' && field !== '.'
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch {
    return false
  }
}

export async function readSecretFile(
  path: string,
  isRaw: boolean,
): Promise<{ readonly value: Uint8Array; readonly version: string }> {
  try {
    await using file = await open(path, 'r')
    const { mtimeMs, ino } = await file.stat()
    const buffer = Buffer.alloc(maxBytes + 1)
    // One reading at a time from the start: what is mounted may say that it has no size.
    let size = 0
    for (;;) {
      const { bytesRead } = await file.read(buffer, size, buffer.length - size)
      if (bytesRead === 0) break
      size += bytesRead
      if (size > maxBytes)
        throw new ProviderFault('unavailable', `it has more than ${maxBytes} bytes`, 'Is this the file that was meant?')
    }
    const value = Buffer.from(buffer.subarray(0, size))
    const version = `${new Date(mtimeMs).toISOString()}-${ino}`
    return { value: isRaw ? value : withoutLineBreak(value), version }
  } catch (error) {
    if (error instanceof ProviderFault) throw error
    const code = codeOf(error) ?? 'unknown error'
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new ProviderFault('absent', 'there is no such file', 'Check the path and that the volume is mounted')
    if (code === 'EACCES' || code === 'EPERM')
      throw new ProviderFault('denied', 'this user may not read it', 'Check mode and owner of the file (fsGroup)')
    if (code === 'EISDIR')
      throw new ProviderFault('absent', 'it is a folder', 'Name the file in it after "#", or in the path')
    throw new ProviderFault('unavailable', `it cannot be read (${code})`, 'Check the volume')
  }
}

function withoutLineBreak(value: Buffer): Buffer {
  if (value.at(-1) !== 0x0a) return value
  return value.subarray(0, value.at(-2) === 0x0d ? -2 : -1)
}

/**
 * Watches the folder, never the file: the kubelet replaces the link `..data` beside it, after which a watch of the file hears nothing any
 * more. Where a folder cannot be watched, the regular refresh has to do.
 */
function watchFolder(path: string, field: string | undefined, changed: () => void): () => void {
  const folder = field !== undefined && statSync(path, { throwIfNoEntry: false })?.isDirectory() ? path : dirname(path)
  let timer: NodeJS.Timeout | undefined
  // One swap makes several events.
  const soon = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined
      changed()
    }, 20).unref()
  }
  let watcher: FSWatcher | undefined
  try {
    watcher = watch(folder, { persistent: false }, soon)
    watcher.on('error', () => watcher?.close())
  } catch {
    watcher = undefined
  }
  return () => {
    clearTimeout(timer)
    watcher?.close()
  }
}
