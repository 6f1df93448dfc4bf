import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { chmod, copyFile, mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

import { explainFailed, runtimeUnavailable } from '../../errors.ts'
import type { ResolvedImage } from '../../layout/layout.ts'
import { detectCgroupLayout, removeCgroup } from '../cgroup.ts'
import { findCommand, runCommand, toolEnvironment } from '../command.ts'
import { locateRuntime } from '../oci-runtime.ts'
import { cgroupPathOf, prepareBundle, removeBundle } from '../run-image.ts'
import type { Bundle, RunImageOptions } from '../run-image.ts'
import { readFacts } from './facts.ts'
import type { ProcessFacts } from './facts.ts'
import { planSteps, quote, renderScript } from './steps.ts'
import type { StepSettings } from './steps.ts'

/** A step that was done, and what the kernel says after it. */
export interface ExplainedStep {
  readonly title: string
  readonly why: string
  readonly commands: readonly string[]
  readonly facts: ProcessFacts
}

/** The same container by hand and by the OCI runtime. */
export interface ExplainedContainer {
  /** `runc` or `crun`. */
  readonly runtime: string
  readonly facts: ProcessFacts
  /** Exit codes of the command, where one was given. */
  readonly exitCodes?: { readonly byHand: number; readonly byRuntime: number } | undefined
}

/** What to explain; limits are set so that there is something to see. */
export interface ExplainOptions extends Pick<RunImageOptions, 'dir' | 'layersDir' | 'layout' | 'signal'> {
  /** Program and arguments to run at the end, in both containers; default: none. */
  readonly command?: readonly string[] | undefined
  /** What the command writes to. Default: the streams of this process. */
  readonly stdio?: readonly [number, number] | undefined
}

const MEMORY_BYTES = 256 * 2 ** 20
const PIDS = 64
const STEP_TIMEOUT_MS = 20_000

/**
 * Contains a process step by step with programs of util-linux, and yields after each step what the kernel says of it; at last
 * what it says of a container that runc or crun makes of the same image. Linux and root only:
 * `FAIRLEAD_OCI_RUNTIME_UNAVAILABLE`. Nothing is left, however it ends.
 */
export async function* explainContainer(
  image: ResolvedImage,
  options: ExplainOptions,
): AsyncGenerator<ExplainedStep, ExplainedContainer> {
  const layout = await detectCgroupLayout()
  const runtime = await locateRuntime(layout)
  const tools = await locateTools()
  const limits = { memoryBytes: MEMORY_BYTES, pids: PIDS }
  const { dir, layersDir, layout: images } = options
  const isolated = { dir, layersDir, layout: images, resources: limits, security: { readOnlyRoot: true } }
  await using cleanup = new AsyncDisposableStack()
  const bundle = await prepareBundle(image, { ...isolated, network: 'none' })
  cleanup.defer(async () => {
    await removeBundle(bundle.bundle, runtime.path, bundle.id)
    await removeCgroup(cgroupPathOf(bundle.id), layout)
  })
  const settings: StepSettings = {
    ...tools,
    ...limits,
    id: bundle.id,
    rootDir: join(bundle.bundle, 'rootfs'),
    layout,
    // Beside the one of the runtime, which would not take one that is in use.
    cgroupPath: `${cgroupPathOf(bundle.id)}-by-hand`,
    uid: bundle.config.process.user.uid,
    gid: bundle.config.process.user.gid,
  }
  cleanup.defer(() => removeCgroup(settings.cgroupPath, layout))
  const byHand = yield* runSteps(settings, bundle, options)
  const facts = await observeRuntime(runtime.path, bundle, tools, options)
  const byRuntime = options.command ? await runByRuntime(runtime.path, bundle, options) : undefined
  const exitCodes = byHand === undefined || byRuntime === undefined ? undefined : { byHand, byRuntime }
  return { runtime: runtime.name, facts, exitCodes }
}

async function* runSteps(
  settings: StepSettings,
  bundle: Bundle,
  options: ExplainOptions,
): AsyncGenerator<ExplainedStep, number | undefined> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-explain-'))
  const steps = planSteps(settings)
  const script = join(dir, 'steps.sh')
  await writeFile(script, renderScript(steps, script, settings))
  // The user of the image reads it too.
  await chmod(dir, 0o755)
  const [out, error] = options.stdio ?? [1, 2]
  const child = spawn(settings.tools.sh, [script, '0'], {
    stdio: ['ignore', out, error, 'pipe', 'pipe'],
    env: toolEnvironment(),
  })
  const ended = new Promise<number>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve(code ?? 137))
  })
  ended.catch(() => {})
  const kill = (): void => void child.kill('SIGKILL')
  options.signal?.addEventListener('abort', kill, { once: true })
  const go = child.stdio[3] as Writable
  go.on('error', () => {})
  try {
    const lines = createInterface({ input: child.stdio[4] as Readable })[Symbol.asyncIterator]()
    for (const [stage, { title, why, commands }] of steps.entries()) {
      await reached(lines, stage, title)
      options.signal?.throwIfAborted()
      yield { title, why, commands, facts: await readFacts(await subjectOf(child)) }
      if (stage < steps.length - 1) go.write('on\n')
    }
    go.end(`${options.command ? finalCommand(bundle, options.command) : 'end'}\n`)
    const code = await ended
    options.signal?.throwIfAborted()
    return options.command ? code : undefined
  } finally {
    kill()
    await ended.catch(() => {})
    options.signal?.removeEventListener('abort', kill)
    await rm(dir, { recursive: true, force: true })
  }
}

async function reached(lines: AsyncIterator<string>, stage: number, title: string): Promise<void> {
  const timeout = AbortSignal.timeout(STEP_TIMEOUT_MS)
  const late = new Promise<never>((_, reject) => {
    timeout.addEventListener('abort', () => reject(explainFailed(title, `it takes longer than ${STEP_TIMEOUT_MS} ms`)))
  })
  const { value, done } = await Promise.race([lines.next(), late])
  if (done || value !== String(stage)) throw explainFailed(title, 'the program that does it failed, see above')
}

/** The process that is contained: `unshare --fork` stays behind as its parent. */
async function subjectOf(child: ChildProcess): Promise<number> {
  let pid = child.pid ?? 0
  for (;;) {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
    const next = Number(children.trim().split(' ')[0])
    if (!next) return pid
    pid = next
  }
}

function finalCommand({ config }: Bundle, command: readonly string[]): string {
  const words = [`--chdir=${config.process.cwd}`, '-i', ...config.process.env, ...command]
  return words.map((word) => quote(word.replaceAll('\n', ' '))).join(' ')
}

/** A container of the runtime whose program only waits: the machine's own `cat`, brought in for that in a folder. */
async function observeRuntime(
  runtime: string,
  bundle: Bundle,
  tools: Pick<StepSettings, 'loader' | 'libraries'>,
  options: ExplainOptions,
): Promise<ProcessFacts> {
  const probe = join(bundle.bundle, 'probe')
  await mkdir(probe, { mode: 0o755 })
  const cat = await realpath((await findCommand('cat')) ?? '/bin/cat')
  for (const file of [tools.loader, join(tools.libraries, 'libc.so.6'), cat])
    await copyFile(file, join(probe, basename(file)))
  const inside = '/tmp'
  const args = [join(inside, basename(tools.loader)), '--library-path', inside, join(inside, basename(cat))]
  const mount = { destination: inside, type: 'bind', source: probe, options: ['bind', 'ro'] }
  const config = { ...bundle.config, mounts: [...bundle.config.mounts, mount] }
  config.process = { ...config.process, args, cwd: '/' }
  await writeFile(join(bundle.bundle, 'config.json'), JSON.stringify(config))
  const child = spawn(runtime, runtimeArgs(bundle), { stdio: ['pipe', 'pipe', 'inherit'], env: toolEnvironment() })
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()).on('error', () => resolve()))
  const kill = (): void => void child.kill('SIGKILL')
  options.signal?.addEventListener('abort', kill, { once: true })
  try {
    // It answers when it is on its own feet, under all limits.
    child.stdin?.on('error', () => {})
    child.stdin?.write('.')
    await Promise.race([
      new Promise((resolve) => child.stdout?.once('data', resolve)),
      ended.then(() => Promise.reject(explainFailed(basename(runtime), 'the container did not start'))),
      sleep(STEP_TIMEOUT_MS, undefined, { ref: false }).then(() =>
        Promise.reject(explainFailed(basename(runtime), `it takes longer than ${STEP_TIMEOUT_MS} ms`)),
      ),
    ])
    const state = JSON.parse(
      await runCommand(runtime, ['--root', join(bundle.bundle, 'state'), 'state', bundle.id]),
    ) as {
      pid: number
    }
    return await readFacts(state.pid)
  } finally {
    child.stdin?.end()
    options.signal?.removeEventListener('abort', kill)
    await ended
    await runCommand(runtime, ['--root', join(bundle.bundle, 'state'), 'delete', '--force', bundle.id]).catch(() => {})
  }
}

async function runByRuntime(runtime: string, bundle: Bundle, options: ExplainOptions): Promise<number> {
  const config = { ...bundle.config, process: { ...bundle.config.process, args: options.command ?? [] } }
  await writeFile(join(bundle.bundle, 'config.json'), JSON.stringify(config))
  const [out, error] = options.stdio ?? [1, 2]
  const child = spawn(runtime, runtimeArgs(bundle), { stdio: ['ignore', out, error], env: toolEnvironment() })
  const kill = (): void =>
    void runCommand(runtime, ['--root', join(bundle.bundle, 'state'), 'kill', bundle.id, 'KILL']).catch(() => {})
  options.signal?.addEventListener('abort', kill, { once: true })
  try {
    return await new Promise<number>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) => resolve(code ?? 137))
    })
  } finally {
    options.signal?.removeEventListener('abort', kill)
  }
}

function runtimeArgs({ bundle, id }: Bundle): string[] {
  return ['--root', join(bundle, 'state'), 'run', '--bundle', bundle, id]
}

const LOADERS: Partial<Record<NodeJS.Architecture, string>> = {
  x64: '/lib64/ld-linux-x86-64.so.2',
  arm64: '/lib/ld-linux-aarch64.so.1',
}

async function locateTools(): Promise<Pick<StepSettings, 'loader' | 'libraries' | 'tools'>> {
  const names = ['sh', 'env', 'mount', 'rmdir', 'setpriv', 'umount'] as const
  const found = await Promise.all(names.map(locate))
  await Promise.all(['unshare', 'nsenter', 'pivot_root', 'hostname'].map(locate))
  const loader = await realpath(LOADERS[process.arch] ?? '').catch(() => undefined)
  if (loader === undefined) throw runtimeUnavailable('its C library is not glibc on amd64 or arm64')
  const tools = Object.fromEntries(names.map((name, index) => [name, found[index]])) as StepSettings['tools']
  return { loader, libraries: dirname(loader), tools }
}

async function locate(name: string): Promise<string> {
  const path = await findCommand(name)
  if (path === undefined) throw runtimeUnavailable(`"${name}" is not installed`)
  return realpath(path)
}
