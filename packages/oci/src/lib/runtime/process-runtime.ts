import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { tmpdir } from 'node:os'
import { access, constants, mkdir, open, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { containerStart, execFailed } from '../errors.ts'
import { findCommand } from './command.ts'
import { commandLine, environment } from './config.ts'
import type { ContainerMount } from './config.ts'
import type { ContainerRuntime, ContainerSpec, ContainerState, SessionOptions } from './driver.ts'
import { runBounded } from './exec.ts'
import { openExits } from './exits.ts'
import { openLayerCache } from './layer-cache.ts'
import type { RuntimeOptions } from './oci-runtime.ts'
import { identifyProcess, isRunning, pidOf } from './process-identity.ts'
import { openRecords } from './records.ts'
import { childOf, holdOutput, spawnOnTerminal, superviseSession } from './session.ts'
import type { ContainerSession } from './session.ts'
import { attachToShim } from './shim-attach.ts'
import { watchMonitors } from './supervision.ts'
import { cloneTree, resolveInRoot } from './unpack.ts'

interface Launch {
  file: string
  argv: string[]
  cwd: string
  env: Record<string, string>
  logPath: string
  exitPath: string
  /** Socket of the monitor for those who attach; short, for an address holds about a hundred bytes. */
  attachPath: string
  stdin: boolean
  stdinOnce: boolean
  tty: boolean
  /** The program that makes terminals. */
  script: string
}

const shimPath = fileURLToPath(
  new URL(`./process-shim${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
)

/**
 * Containers as plain processes: the program runs from its unpacked image, with its arguments, environment and
 * directory, but sees the whole machine. Nothing is limited or kept apart; mounts appear below the image's directory
 * only, where variables that name them point to. Needs no privileges, works on any system Node runs on.
 */
export async function openProcessRuntime(options: RuntimeOptions): Promise<ContainerRuntime> {
  const records = await openRecords(join(options.dir, 'containers'))
  const exits = await openExits(join(options.dir, 'exits'))
  const { layersDir, layout, openLayers = openLayerCache } = options
  const layers = await openLayers({ dir: layersDir, layout, readOnlyFiles: true })
  const stopWatching = watchMonitors(records, exits, options.superviseMs ?? 5000)

  async function create(spec: ContainerSpec): Promise<void> {
    const dir = records.dirOf(spec.id)
    const rootDir = join(dir, 'rootfs')
    await mkdir(dir, { recursive: true })
    await records.write({ id: spec.id, createdAt: Date.now() })
    await cloneTree(await layers.flatten(spec.image), rootDir)
    for (const mount of spec.mounts ?? []) await placeMount(rootDir, mount.destination, mount.source, mount.type)
    const launch = await createLaunch(spec, rootDir)
    launch.exitPath = join(exits.dir, spec.id)
    await writeFile(join(dir, 'launch.json'), JSON.stringify(launch))
  }

  async function start(id: string): Promise<void> {
    const record = await records.read(id)
    const { pid, monitorPid } = await startShim(id, join(records.dirOf(id), 'launch.json'))
    const [identity, monitor] = [identifyProcess(pid), identifyProcess(monitorPid)]
    // A program that has ended already has no identity any more; its exit code is written all the same.
    await records.write({ ...record, startedAt: Date.now(), process: identity ?? `/${pid}/`, monitor })
  }

  async function kill(id: string, signal: NodeJS.Signals | number): Promise<void> {
    const record = await records.find(id)
    if (!record?.process) return
    const pid = pidOf(record.process)
    // The group, so that helpers the program started end with it; only the leader for other signals, as in a container.
    if (isRunning(record.process)) sendSignal(signal === 'SIGKILL' || signal === 9 ? -pid : pid, signal)
  }

  async function state(id: string): Promise<ContainerState | undefined> {
    const record = await records.find(id)
    if (!record) return undefined
    const { startedAt, process: identity, monitor } = record
    // Looked at before the exit code: a monitor writes that and ends, so one that is gone has written it, if ever.
    const isMonitored = monitor !== undefined && isRunning(monitor)
    const isUp = identity !== undefined && (isMonitored || isRunning(identity))
    const exit = await exits.read(id)
    if (exit) return { id, status: 'exited', startedAt, ...exit, oomKilled: false }
    if (startedAt === undefined || !identity) return { id, status: 'created' }
    if (isUp) return { id, status: 'running', pid: pidOf(identity), startedAt, isUnsupervised: !isMonitored }
    return { id, status: 'exited', startedAt, exitCode: 137, finishedAt: Date.now(), oomKilled: false }
  }

  async function remove(id: string): Promise<void> {
    const record = await records.find(id)
    if (record?.process) {
      const { setTimeout: sleep } = await import('node:timers/promises')
      sendSignalQuietly(record.process)
      const monitor = record.monitor ?? ''
      for (let waitedMs = 0; isRunning(monitor) && waitedMs < 2000; waitedMs += 5) await sleep(5)
    }
    await exits.remove(id)
    await records.remove(id)
  }

  async function openExec(id: string, { args, stdin, tty = false }: SessionOptions): Promise<ContainerSession> {
    const dir = records.dirOf(id)
    const launch = await readLaunch(dir)
    const argv = await findArguments(args, join(dir, 'rootfs'), launch)
    const spawning = { cwd: launch.cwd, env: launch.env }
    const child = tty
      ? await spawnOnTerminal(argv, { ...spawning, argv0: args[0] ?? '', env: { TERM: 'xterm', ...spawning.env } })
      : spawn(argv[0] ?? '', argv.slice(1), {
          ...spawning,
          argv0: args[0] ?? '',
          stdio: [stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
        })
    const output = holdOutput(child)
    await once(child, 'spawn').catch((cause: unknown) => {
      throw execFailed(`exec failed: ${cause instanceof Error ? cause.message : String(cause)}`, cause)
    })
    const pid = tty ? await childOf(child.pid ?? 0) : child.pid
    return superviseSession({ child, output, tty, pid })
  }

  async function attach(id: string, { stdin }: { readonly stdin: boolean }): Promise<ContainerSession> {
    const { attachPath, stdin: hasInput, tty } = await readLaunch(records.dirOf(id))
    return attachToShim(attachPath, { stdin: stdin && hasInput, tty })
  }

  return {
    kind: 'processes',
    version: `process://${process.versions.node}`,
    prepare: async (image) => void (await layers.flatten(image)),
    mountImage: async (image) => layers.flatten(image),
    create: (spec) =>
      create(spec).catch(async (error: unknown) => {
        await remove(spec.id)
        throw error
      }),
    start,
    kill,
    // A copy of the image that may share its blocks: nobody can say what of it is the container's own.
    writableDir: () => undefined,
    state,
    exec: (id, execOptions) => runBounded(() => openExec(id, { args: execOptions.args }), execOptions),
    openExec,
    attach,
    async reopenLog(id) {
      const record = await records.find(id)
      if (record?.monitor && isRunning(record.monitor)) process.kill(pidOf(record.monitor), 'SIGHUP')
    },
    delete: remove,
    list: () => records.ids(),
    onExit: (listener) => exits.onExit(listener),
    update: async () => {},
    openNamespaces: async () => undefined,
    closeNamespaces: async () => {},
    limitCgroup: async () => {},
    removeCgroup: async () => {},
    prune: async (images, unusedMs) => void (await layers.prune(images, unusedMs)),
    async close() {
      stopWatching()
      exits.close()
    },
  }
}

async function createLaunch(spec: ContainerSpec, rootDir: string): Promise<Launch> {
  const image = spec.image.config
  const wanted = environment(image, { ...(spec.hostname ? { HOSTNAME: spec.hostname } : {}), ...spec.env })
  const env = locateMounts(wanted, spec.mounts ?? [], rootDir)
  const cwd = await resolveInRoot(rootDir, spec.cwd || image.config?.WorkingDir || '/')
  await mkdir(cwd, { recursive: true })
  const line = commandLine(image, spec)
  const [file = '', ...args] = await resolveArguments(line, rootDir, env, cwd)
  return {
    file,
    argv: [line[0] ?? '', ...args],
    cwd,
    // Where the image lies, for programs that want to know.
    env: {
      ...env,
      PATH: await rootedPath(env['PATH'] ?? '', rootDir),
      FAIRLEAD_ROOT: rootDir,
      FAIRLEAD_MOUNTS: JSON.stringify(shownMounts(spec.mounts ?? [], rootDir)),
    },
    logPath: spec.logPath,
    exitPath: '',
    attachPath: join(tmpdir(), `fairlead-${createHash('sha256').update(rootDir).digest('hex').slice(0, 24)}.sock`),
    stdin: spec.stdin ?? false,
    stdinOnce: spec.stdinOnce ?? false,
    tty: spec.tty ?? false,
    script: (spec.tty ? await findCommand('script') : undefined) ?? 'script',
  }
}

async function readLaunch(dir: string): Promise<Launch> {
  const { readFile } = await import('node:fs/promises')
  return JSON.parse(await readFile(join(dir, 'launch.json'), 'utf8')) as Launch
}

/** The program of an exec and its arguments; throws as a container runtime does when there is no such program. */
async function findArguments(args: readonly string[], rootDir: string, launch: Launch): Promise<string[]> {
  try {
    return await resolveArguments(args, rootDir, launch.env, launch.cwd)
  } catch (cause) {
    const state = `exec failed: unable to start container process: exec: "${args[0] ?? ''}"`
    throw execFailed(`${state}: executable file not found in $PATH`, cause)
  }
}

/** A variable that names a mount, or something in it, names its place on this machine: the program cannot see another. */
function locateMounts(
  env: Readonly<Record<string, string>>,
  mounts: readonly ContainerMount[],
  rootDir: string,
): Record<string, string> {
  const byLength = longestFirst(mounts)
  const locate = (text: string): string => {
    const mount = byLength.find(({ destination }) => text === destination || text.startsWith(`${destination}/`))
    return mount ? placeOf(mount, rootDir) + text.slice(mount.destination.length) : text
  }
  // Our own variables hold paths of this machine already.
  const isOurs = (name: string): boolean => name.startsWith('FAIRLEAD_')
  return Object.fromEntries(Object.entries(env).map(([name, text]) => [name, isOurs(name) ? text : locate(text)]))
}

function longestFirst(mounts: readonly ContainerMount[]): ContainerMount[] {
  return mounts.toSorted((a, b) => b.destination.length - a.destination.length)
}

function placeOf(mount: ContainerMount, rootDir: string): string {
  return mount.type === 'tmpfs' ? join(rootDir, mount.destination) : mount.source
}

/** Folders and files that other programs of the machine go by, too: a volume there stays where variables say. */
const common = ['/tmp', '/var/tmp', '/dev/shm', '/run', '/var/run', '/etc/hosts', '/etc/hostname', '/etc/resolv.conf']

/** The mounts that a module loaded before the program may show at their paths, as `[destination, place]`, the longest first. */
function shownMounts(mounts: readonly ContainerMount[], rootDir: string): [string, string][] {
  return longestFirst(mounts)
    .map((mount): [string, string] => [mount.destination.replace(/(?<=.)\/+$/, ''), placeOf(mount, rootDir)])
    .filter(([destination]) => destination !== '/' && !common.includes(destination))
}

/**
 * Turns paths of the image into paths of this machine: the program is looked up in the image, and absolute arguments
 * that name something in the image, and nothing outside of it, are taken to mean that.
 */
async function resolveArguments(
  args: readonly string[],
  rootDir: string,
  env: Readonly<Record<string, string>>,
  cwd: string,
): Promise<string[]> {
  const [program = '', ...rest] = args
  const found = await findProgram(program, rootDir, env['PATH'] ?? '', cwd)
  const rooted = rest.map(async (arg) => {
    if (!isAbsolute(arg) || (await exists(arg))) return arg
    const inside = await resolveInRoot(rootDir, arg)
    return (await exists(inside)) ? inside : arg
  })
  return [found, ...(await Promise.all(rooted))]
}

async function findProgram(program: string, rootDir: string, path: string, cwd: string): Promise<string> {
  // The image's Node is of no use to a machine it was not made for; ours is.
  const isOurs = async (file: string): Promise<string> =>
    basename(program) === 'node' && !(await isNativeProgram(file)) ? process.execPath : file
  if (program.startsWith('./') || program.startsWith('../')) return join(cwd, program)
  if (program.includes('/')) {
    const inside = await resolveInRoot(rootDir, program)
    // A path of this machine when the resolved one is given again, as exec does with a probe's arguments.
    return isOurs((await exists(inside)) ? inside : program)
  }
  for (const folder of path.split(':')) {
    const file = folder.startsWith(rootDir)
      ? join(folder, program)
      : await resolveInRoot(rootDir, join(folder, program))
    if (await isExecutable(file)) return isOurs(file)
  }
  if (program === 'node') return process.execPath
  throw containerStart(basename(dirname(rootDir)), `the image has no program "${program}" on its PATH`)
}

/** The image's PATH below its directory, then this machine's: scripts may call what the image leaves out. */
async function rootedPath(path: string, rootDir: string): Promise<string> {
  const folders = path.split(':').filter((folder) => folder !== '')
  const rooted = await Promise.all(folders.map((folder) => resolveInRoot(rootDir, folder)))
  return [...new Set([...rooted, ...folders])].join(':')
}

/** Whether a file is a program in this machine's own format, by its first bytes. */
async function isNativeProgram(path: string): Promise<boolean> {
  const file = await open(path).catch(() => undefined)
  if (!file) return false
  try {
    const { buffer } = await file.read(Buffer.alloc(20), 0, 20, 0)
    if (process.platform !== 'linux') return false
    // e_machine of an ELF file: 62 = x86-64, 183 = AArch64.
    const machine = buffer.readUInt16LE(18)
    return buffer.toString('latin1', 0, 4) === '\u007fELF' && machine === (process.arch === 'arm64' ? 183 : 62)
  } finally {
    await file.close()
  }
}

/** Without mounts, a link in the image's directory is as near as a plain process gets. */
async function placeMount(rootDir: string, destination: string, source: string, type = 'bind'): Promise<void> {
  const target = await resolveInRoot(rootDir, destination)
  if (target === rootDir) return
  await mkdir(dirname(target), { recursive: true })
  await rm(target, { recursive: true, force: true })
  if (type === 'tmpfs') await mkdir(target)
  else await symlink(source, target)
}

async function startShim(id: string, launchPath: string): Promise<{ pid: number; monitorPid: number }> {
  const child = spawn(
    process.execPath,
    ['--max-old-space-size=32', '--v8-pool-size=0', '--no-warnings', shimPath, launchPath],
    {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'] ?? '' },
      cwd: '/',
    },
  )
  child.unref()
  const pipe = child.stdio[3] as Readable
  let complaint = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (complaint += text.slice(0, 4000)))
  const timer = setTimeout(() => pipe.destroy(new Error('it did not answer in time')), 30_000)
  try {
    let text = ''
    for await (const chunk of pipe.setEncoding('utf8')) text += String(chunk)
    const answer = JSON.parse(text || '{}') as { pid?: number; message?: string }
    if (answer.pid && child.pid) return { pid: answer.pid, monitorPid: child.pid }
    throw new Error(answer.message ?? (complaint.trim() || 'its monitor did not start'))
  } catch (cause) {
    throw containerStart(id, cause instanceof Error ? cause.message : String(cause), cause)
  } finally {
    clearTimeout(timer)
    child.stderr?.destroy()
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals | number): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** The whole group, also when its leader has ended: helpers may have stayed. */
function sendSignalQuietly(identity: string): void {
  if (!isRunning(identity) && identifyProcess(pidOf(identity)) !== undefined) return
  sendSignal(-pidOf(identity), 'SIGKILL')
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}
