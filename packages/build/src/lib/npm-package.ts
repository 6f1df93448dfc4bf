import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import { runCommand } from './run-command.ts'

/** How npm is run. */
export interface NpmOptions {
  env: NodeJS.ProcessEnv
  signal?: AbortSignal | undefined
}

/** What the registry says about one version of a package. */
export interface NpmDist {
  tarball: string | undefined
  /** `sha512-…`; absent for packages of old times. */
  integrity: string | undefined
}

const DOWNLOAD_TIMEOUT_MS = 10 * 60_000

/** Asks the registry of npm's own configuration about `name@version`; `undefined` when it does not have it. */
export async function viewDist(spec: string, options: NpmOptions): Promise<NpmDist | undefined> {
  const text = await runNpm(['view', spec, 'dist', '--json'], options)
  const dist = text.trim() === '' ? undefined : (JSON.parse(text) as Partial<NpmDist>)
  return dist && { tarball: dist.tarball, integrity: dist.integrity }
}

/** Versions of a package the registry has, oldest first. */
export async function listVersions(name: string, options: NpmOptions): Promise<string[]> {
  const text = await runNpm(['view', name, 'versions', '--json'], options)
  const found: unknown = text.trim() === '' ? [] : JSON.parse(text)
  return Array.isArray(found) ? found.map(String) : [String(found)]
}

/**
 * Puts the tarball of `name@version` into `dir` and answers its path and SHA-512. Streams it from the address the registry
 * gives; where that is refused — a private registry, a proxy — `npm pack` fetches it with npm's own credentials, which holds
 * the whole file in memory.
 */
export async function downloadPackage(
  spec: string,
  dist: NpmDist,
  options: NpmOptions & { dir: string },
): Promise<{ path: string; integrity: string }> {
  const { dir, signal } = options
  const path = join(dir, 'package.tgz')
  if (dist.tarball !== undefined && (await stream(dist.tarball, path, signal)))
    return { path, integrity: await hash(path) }
  await runNpm(['pack', spec, '--pack-destination', dir, '--ignore-scripts', '--silent'], options, dir)
  const name = (await readdir(dir)).find((file) => file.endsWith('.tgz') && file !== 'package.tgz')
  if (name === undefined) throw new Error(`Cannot find what "npm pack ${spec}" made: no file`)
  return { path: join(dir, name), integrity: await hash(join(dir, name)) }
}

/** Whether the address could be read without credentials. */
async function stream(address: string, path: string, signal: AbortSignal | undefined): Promise<boolean> {
  const deadline = AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS)
  try {
    const response = await fetch(address, { signal: signal ? AbortSignal.any([signal, deadline]) : deadline })
    if (!response.ok || !response.body) {
      await response.body?.cancel()
      return false
    }
    await pipeline(Readable.fromWeb(response.body as never), createWriteStream(path))
    return true
  } catch (error) {
    signal?.throwIfAborted()
    if (['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    return false
  }
}

async function hash(path: string): Promise<string> {
  const sum = createHash('sha512')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) sum.update(chunk as Buffer)
  return `sha512-${sum.digest('base64')}`
}

function runNpm(args: readonly string[], { env, signal }: NpmOptions, cwd?: string): Promise<string> {
  return runCommand('npm', args, { cwd, env, signal, timeoutMs: DOWNLOAD_TIMEOUT_MS })
}
