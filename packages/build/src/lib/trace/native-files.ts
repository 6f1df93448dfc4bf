import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'

import { nativeUnusable } from '../errors.ts'
import { isElf, parseElf } from '../native/elf.ts'

/** What a native file must be made for. */
export interface NativeTarget {
  architecture: 'amd64' | 'arm64'
  /** C library of the base; default glibc. */
  libc?: 'glibc' | 'musl' | undefined
}

const NATIVE_FILE = /\.(node|so(\.\d+)*)$/
const MAX_NATIVE_BYTES = 512 << 20

/** Whether a path has the name of a native addon or shared library. */
export function isNativeFile(path: string): boolean {
  return NATIVE_FILE.test(path)
}

/** Native files below a package's folder, those of packages nested in it and of unfinished builds left out. */
export async function findNativeFiles(dir: string): Promise<string[]> {
  const found: string[] = []
  for (const entry of await readdir(dir, { withFileTypes: true }).catch(() => [])) {
    const path = join(dir, entry.name)
    if (entry.isDirectory() && !['node_modules', 'obj.target', '.git', 'deps'].includes(entry.name)) {
      found.push(...(await findNativeFiles(path)))
    } else if (entry.isFile() && isNativeFile(entry.name)) found.push(path)
  }
  return found.toSorted()
}

/** Why the file cannot be loaded in the image, in words; `undefined` when it can. */
export async function reasonAgainst(path: string, target: NativeTarget): Promise<string | undefined> {
  const bytes = await readBounded(path)
  if (!isElf(bytes)) return 'made for another operating system'
  const { architecture, libc } = parseElf(bytes)
  if (architecture !== target.architecture) return `made for ${architecture ?? 'another processor'}`
  const other = target.libc === 'musl' ? 'glibc' : 'musl'
  return libc === other ? `made for the C library ${other}` : undefined
}

/** Refuses a package of which nothing native is left for the target. */
export function checkNative(
  packageName: string,
  files: readonly { path: string; reason: string | undefined }[],
  target: NativeTarget,
): void {
  if (files.some(({ reason }) => reason === undefined)) return
  const wanted = `linux/${target.architecture} with ${target.libc ?? 'glibc'}`
  if (files.length === 0) {
    const hint = `Run "npm rebuild ${packageName}", or choose a package that carries its builds`
    throw nativeUnusable(packageName, `it is not built for ${wanted}`, hint)
  }
  const reasons = [...new Set(files.map(({ reason }) => reason))].join(', ')
  const hint = `Install its build for the platform: npm install --os=linux --cpu=${target.architecture === 'amd64' ? 'x64' : 'arm64'} --libc=${target.libc ?? 'glibc'}`
  throw nativeUnusable(packageName, `all its builds are ${reasons}, expected one for ${wanted}`, hint)
}

async function readBounded(path: string): Promise<Buffer> {
  const file = await open(path)
  try {
    const { size } = await file.stat()
    if (size > MAX_NATIVE_BYTES) return Buffer.alloc(0)
    return await file.readFile()
  } finally {
    await file.close()
  }
}
