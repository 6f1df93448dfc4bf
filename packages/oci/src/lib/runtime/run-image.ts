import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { containerStart } from '../errors.ts'
import type { Layout, ResolvedImage } from '../layout/layout.ts'
import { currentProcess, isProcessGone } from '../layout/process-identity.ts'
import { detectCgroupLayout, removeCgroup } from './cgroup.ts'
import { runCommand, toolEnvironment } from './command.ts'
import { createRuntimeConfig } from './config.ts'
import type { ContainerMount, ContainerResources, ContainerSecurity, RuntimeConfig } from './config.ts'
import { openLayerCache } from './layer-cache.ts'
import { readHardLimits } from './limits.ts'
import { locateRuntime } from './oci-runtime.ts'
import { mountOverlay, unmountAll } from './overlay.ts'
import { resolveInRoot } from './unpack.ts'
import { resolveUser } from './users.ts'

/** How to run an image in the foreground. */
export interface RunImageOptions {
  /** Own directory for what runs now; what killed processes left in it is swept. */
  readonly dir: string
  /** Directory of unpacked layers, shared with runtimes. */
  readonly layersDir: string
  readonly layout: Layout
  /** In place of the image's entrypoint; its default arguments are then dropped too. */
  readonly command?: readonly string[] | undefined
  /** In place of the image's default arguments. */
  readonly args?: readonly string[] | undefined
  /** Over the image's environment. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** In place of the image's user. */
  readonly user?: string | undefined
  readonly cwd?: string | undefined
  readonly mounts?: readonly ContainerMount[] | undefined
  readonly resources?: ContainerResources | undefined
  readonly security?: ContainerSecurity | undefined
  /** `none`: a network of its own with nothing but a loopback device. Default `host`. */
  readonly network?: 'host' | 'none' | undefined
  /** Give the program a terminal; the standard input of this process must be one. Default false. */
  readonly terminal?: boolean | undefined
  /** What the program's standard streams are. Default: those of this process. */
  readonly stdio?: 'inherit' | readonly [number | 'ignore', number, number] | undefined
  /** From the stop signal to SIGKILL when `signal` aborts. Default 10,000. */
  readonly stopTimeoutMs?: number | undefined
  /** Stops the program as its image asks to be stopped (`StopSignal`, SIGTERM without one). */
  readonly signal?: AbortSignal | undefined
}

/**
 * Runs an image by runc or crun in the foreground, on the network of the machine, and resolves to its exit code (128 + number
 * for a signal). Whatever becomes of it, nothing is left: no mount, control group or file. Needs Linux and root:
 * `FAIRLEAD_OCI_RUNTIME_UNAVAILABLE` otherwise.
 */
export async function runImage(image: ResolvedImage, options: RunImageOptions): Promise<number> {
  const cgroups = await detectCgroupLayout()
  const { path: runtime } = await locateRuntime(cgroups)
  await sweep(options.dir, runtime)
  const container = await prepareBundle(image, options)
  const { id, bundle } = container
  try {
    options.signal?.throwIfAborted()
    return await runForeground(runtime, container, {
      ...options,
      stopSignal: image.config.config?.StopSignal ?? 'SIGTERM',
    })
  } finally {
    await removeBundle(bundle, runtime, id)
    await removeCgroup(cgroupPathOf(id), cgroups)
  }
}

/** A container that could be started: its folder with `config.json` and a mounted root file system. */
export interface Bundle {
  readonly id: string
  readonly bundle: string
  readonly config: RuntimeConfig
}

/** Mounts the image and writes the runtime configuration. {@link removeBundle} takes it all away. */
export async function prepareBundle(image: ResolvedImage, options: RunImageOptions): Promise<Bundle> {
  const layers = await openLayerCache({ dir: options.layersDir, layout: options.layout })
  const id = `run-${randomUUID().slice(0, 8)}`
  const bundle = join(options.dir, `${encodeURIComponent(currentProcess())}.${id}`)
  await mkdir(bundle, { recursive: true, mode: 0o711 })
  try {
    const rootDir = await mountOverlay(bundle, layers.dir, await layers.stack(image))
    const read = async (path: string): Promise<string> =>
      readFile(await resolveInRoot(rootDir, path), 'utf8').catch(() => '')
    const user = resolveUser(options.user ?? image.config.config?.User ?? '', {
      passwd: await read('etc/passwd'),
      group: await read('etc/group'),
    })
    const config = createRuntimeConfig(image.config, {
      ...options,
      rootDir,
      user,
      mounts: [...(options.network === 'none' ? [] : hostFiles()), ...(options.mounts ?? [])],
      ...(options.network === 'none' ? {} : { networkNamespace: 'host' }),
      hostname: id,
      cgroupPath: cgroupPathOf(id),
      hardLimits: await readHardLimits(),
    })
    config.process.terminal = options.terminal === true
    if (options.terminal) config.process.env = [...config.process.env, `TERM=${process.env['TERM'] ?? 'xterm'}`]
    await writeFile(join(bundle, 'config.json'), JSON.stringify(config))
    return { id, bundle, config }
  } catch (error) {
    await removeBundle(bundle)
    throw error
  }
}

/** Ends the container if it runs, and removes its folder. */
export async function removeBundle(bundle: string, runtime?: string, id?: string): Promise<void> {
  if (runtime !== undefined && id !== undefined) {
    await runCommand(runtime, ['--root', join(bundle, 'state'), 'delete', '--force', id]).catch(() => {})
  }
  await unmountAll(join(bundle, 'rootfs'))
  await rm(bundle, { recursive: true, force: true })
}

export function cgroupPathOf(id: string): string {
  return `/fairlead-${id}`
}

/** On the network of the machine, names resolve as on the machine. */
function hostFiles(): ContainerMount[] {
  return ['/etc/resolv.conf', '/etc/hosts']
    .filter((path) => existsSync(path))
    .map((path) => ({ destination: path, source: path, readOnly: true }))
}

/** Removes what processes that are gone have left. */
async function sweep(dir: string, runtime: string): Promise<void> {
  for (const name of await readdir(dir).catch(() => [])) {
    const at = name.lastIndexOf('.')
    if (at > 0 && isProcessGone(decodeURIComponent(name.slice(0, at)))) {
      const id = name.slice(at + 1)
      await removeBundle(join(dir, name), runtime, id)
      await removeCgroup(cgroupPathOf(id), await detectCgroupLayout())
    }
  }
}

async function runForeground(
  runtime: string,
  { id, bundle }: Bundle,
  options: RunImageOptions & { stopSignal: string },
): Promise<number> {
  const root = ['--root', join(bundle, 'state')]
  // The log is a file: what the runtime itself says must not mix with the program's output.
  const log = ['--log', join(bundle, 'log')]
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const child = spawn(runtime, [...root, ...log, 'run', '--bundle', bundle, id], {
    stdio: options.stdio === undefined || options.stdio === 'inherit' ? 'inherit' : [...options.stdio],
    env: toolEnvironment(),
  })
  child.on('error', reject)
  child.on('close', (code, signal) => resolve(code ?? (signal === 'SIGKILL' ? 137 : 1)))
  const kill = (signal: string): void => void runCommand(runtime, [...root, 'kill', id, signal]).catch(() => {})
  let timer: NodeJS.Timeout | undefined
  const stop = (): void => {
    kill(options.stopSignal)
    timer = setTimeout(() => kill('SIGKILL'), options.stopTimeoutMs ?? 10_000)
  }
  options.signal?.addEventListener('abort', stop, { once: true })
  try {
    const exitCode = await promise
    const complaint = exitCode === 0 ? undefined : await startFailure(join(bundle, 'log'))
    if (complaint !== undefined && !options.signal?.aborted) throw containerStart(id, complaint)
    return exitCode
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', stop)
  }
}

/** Why the runtime could not start the program; a program that ran and failed leaves no such line. */
async function startFailure(path: string): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '')
  const lines = text.split('\n').filter((line) => line.includes('level=error'))
  const message = /msg="((?:[^"\\]|\\.)*)"/.exec(lines.at(-1) ?? '')?.[1]
  return message?.replaceAll('\\"', '"')
}
