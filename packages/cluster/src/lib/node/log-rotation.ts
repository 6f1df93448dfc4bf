import { rename, rm, stat } from 'node:fs/promises'

import { rotatedFiles } from './log-reader.ts'

/** When logs are cut, and how much of them is kept. */
export interface RotationOptions {
  /** Default 10 MiB. */
  readonly maxBytes?: number | undefined
  /** Files per container, the present one included. Default 5. */
  readonly maxFiles?: number | undefined
}

/** Cuts the log at `path` when it has grown too large; `reopen` makes the container go on in a new file. */
export async function rotateLog(
  path: string,
  reopen: () => Promise<void>,
  options: RotationOptions = {},
): Promise<boolean> {
  const { maxBytes = 10 << 20, maxFiles = 5 } = options
  const found = await stat(path).catch(() => undefined)
  if (!found || found.size < maxBytes) return false
  // Numbered by time, so that names sort by age and are never reused.
  await rename(path, `${path}.${Date.now()}`)
  await reopen()
  const older = await rotatedFiles(path)
  for (const file of older.slice(0, Math.max(0, older.length - (maxFiles - 1)))) await rm(file, { force: true })
  return true
}
