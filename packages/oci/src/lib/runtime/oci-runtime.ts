import { createHash } from 'node:crypto'
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { runtimeUnavailable } from '../errors.ts'
import type { Layout } from '../layout/layout.ts'
import { countOomKills, detectCgroupLayout, killCgroup, limitCgroup, removeCgroup } from './cgroup.ts'
import { findCommand, runCommand } from './command.ts'
import { createRuntimeConfig, renderLimits } from './config.ts'
import type { ContainerResources, RuntimeConfig } from './config.ts'
import { attachMonitored } from './conmon-attach.ts'
import { createMonitored, reopenMonitoredLog } from './conmon.ts'
import type { ContainerRuntime, ContainerSpec, ContainerState } from './driver.ts'
import { openOciExec, runBounded } from './exec.ts'
import type { ExecPlace } from './exec.ts'
import { openExits } from './exits.ts'
import { openLayerCache } from './layer-cache.ts'
import { readHardLimits } from './limits.ts'
import { closeNamespaces, openNamespaces } from './namespaces.ts'
import { mountLayers, mountOverlay, unmountOverlay } from './overlay.ts'
import { identifyProcess, isRunning, pidOf } from './process-identity.ts'
import { releaseByFifo } from './release.ts'
import { openRecords } from './records.ts'
import type { ContainerRecord } from './records.ts'
import { watchMonitors } from './supervision.ts'
import { createToolShell } from './tool-shell.ts'
import { trimMounts } from './trimmed-mounts.ts'
import { resolveInRoot } from './unpack.ts'
import { resolveUser } from './users.ts'
import type { UserIds } from './users.ts'

/** Options of the runtimes. */
export interface RuntimeOptions {
  /** Own directory: containers, exit codes. */
  readonly dir: string
  /** Directory of unpacked layers; may be shared by runtimes of one kind. */
  readonly layersDir: string
  /** Where images come from. */
  readonly layout: Layout
  /** Opens the cache of `layersDir`: runtimes of one process share what {@link shareLayerCaches} opens. Default: one of its own. */
  readonly openLayers?: typeof openLayerCache | undefined
  /** How often to look for containers that lost their monitor, milliseconds. Default 5,000. */
  readonly superviseMs?: number | undefined
}

/** Programs of the OCI runtime. */
interface Tools {
  readonly runtime: string
  readonly name: string
  readonly version: string
  readonly conmon: string
}

/**
 * Containers by an OCI runtime (runc, crun) under conmon, on overlay file systems: Linux, root. Throws
 * `FAIRLEAD_OCI_RUNTIME_UNAVAILABLE` when this machine lacks something.
 */
export async function openOciRuntime(options: RuntimeOptions): Promise<ContainerRuntime> {
  const cgroups = await detectCgroupLayout()
  const tools = await findTools(cgroups)
  const records = await openRecords(join(options.dir, 'containers'))
  const exits = await openExits(join(options.dir, 'exits'))
  const { layersDir, layout, openLayers = openLayerCache } = options
  const layers = await openLayers({ dir: layersDir, layout })
  const hardLimits = await readHardLimits()
  // State that must not outlive the boot, and socket paths that must stay short.
  const runDir = join('/run/fairlead', createHash('sha256').update(options.dir).digest('hex').slice(0, 12))
  const runtimeRoot = join(runDir, 'runtime')
  const socketDir = join(runDir, 'socket')
  await Promise.all([runtimeRoot, socketDir].map((path) => mkdir(path, { recursive: true, mode: 0o700 })))
  const shell = createToolShell()
  const stopWatching = watchMonitors(records, exits, options.superviseMs ?? 5000)

  async function create(spec: ContainerSpec): Promise<void> {
    const dir = records.dirOf(spec.id)
    await mkdir(dir, { recursive: true, mode: 0o711 })
    const sharesPids = spec.pidNamespace !== undefined
    await records.write({ id: spec.id, createdAt: Date.now(), cgroupPath: spec.cgroupPath, sharesPids })
    const rootDir = await mountOverlay(dir, layers.dir, await layers.stack(spec.image), shell.run)
    const user = await userOf(spec, rootDir)
    const config = createRuntimeConfig(spec.image.config, {
      ...spec,
      rootDir,
      user,
      hardLimits,
    })
    config.annotations = { ...config.annotations, [inputAnnotation]: String(spec.stdin ?? false) }
    const call = await trimMounts({ command: [tools.runtime, `--root=${runtimeRoot}`], config })
    await writeFile(join(dir, 'config.json'), JSON.stringify(call.config))
    const made = await createMonitored(
      {
        id: spec.id,
        conmon: tools.conmon,
        runtime: call.command,
        socketDir,
        bundle: dir,
        logPath: spec.logPath,
        exitDir: exits.dir,
        stdin: spec.stdin,
        stdinOnce: spec.stdinOnce,
        tty: spec.tty,
      },
      shell.run,
    )
    const [process, monitor] = [identifyProcess(made.pid), identifyProcess(made.monitorPid)]
    const { uid, gid, additionalGids } = user
    const shown = { uid, gid, gids: [gid, ...additionalGids] }
    await records.write({ ...(await records.read(spec.id)), process, monitor, user: shown })
  }

  async function start(id: string): Promise<void> {
    const record = await records.read(id)
    if (!(await releaseByFifo(join(runtimeRoot, id, 'exec.fifo')))) {
      await runCommand(tools.runtime, ['--root', runtimeRoot, 'start', id])
    }
    await records.write({ ...record, startedAt: Date.now() })
  }

  async function update(id: string, resources: ContainerResources): Promise<void> {
    const path = join(records.dirOf(id), 'resources.json')
    await writeFile(path, JSON.stringify(renderLimits(resources)))
    await runCommand(tools.runtime, ['--root', runtimeRoot, 'update', '--resources', path, id])
  }

  const placeOf = (id: string): ExecPlace => ({
    runtime: tools.runtime,
    runtimeRoot,
    id,
    bundle: records.dirOf(id),
  })
  const removals = new Map<string, Promise<void>>()

  /** Two who delete the same container share the work. */
  function remove(id: string): Promise<void> {
    const running = removals.get(id)
    if (running) return running
    const removal = removeNow(id).finally(() => removals.delete(id))
    removals.set(id, removal)
    return removal
  }

  async function killRest(record: ContainerRecord | undefined): Promise<void> {
    if (record?.sharesPids && record.cgroupPath) await killCgroup(record.cgroupPath, cgroups)
  }

  /**
   * Its monitor saw its end, and no process is left in it. What the runtime would still do is to remove its folder and its control
   * groups: a program that takes as long as all the rest, for each of those that crash again and again.
   */
  async function hasEnded(record: ContainerRecord | undefined): Promise<boolean> {
    if (record?.process === undefined || record.sharesPids === true || isRunning(record.process)) return false
    return (await exits.read(record.id)) !== undefined
  }

  async function removeNow(id: string): Promise<void> {
    const record = await records.find(id)
    const dir = records.dirOf(id)
    // Without its record too: this process may have been killed between the making of the container and the writing of
    // its number. A container the runtime does not know never got so far, or the machine was started anew since.
    if (await hasEnded(record)) await rm(join(runtimeRoot, id), { recursive: true, force: true })
    else if (await isThere(join(dir, 'config.json'))) {
      await runCommand(tools.runtime, ['--root', runtimeRoot, 'delete', '--force', id]).catch(() => {})
    }
    await killRest(record)
    if (record?.monitor !== undefined) await untilGone(record.monitor)
    await unmountOverlay(join(dir, 'rootfs'), shell.run)
    if (record?.cgroupPath) await removeCgroup(record.cgroupPath, cgroups)
    await exits.remove(id)
    await records.remove(id)
  }

  async function state(id: string): Promise<ContainerState | undefined> {
    const record = await records.find(id)
    if (!record) return undefined
    const { startedAt, process: identity, monitor, user } = record
    // Looked at before the exit code: a monitor writes that and ends, so one that is gone has written it, if ever.
    const isMonitored = isAlive(monitor)
    const isUp = identity !== undefined && (isMonitored || isRunning(identity))
    const exit = await exits.read(id)
    if (exit || !isUp) {
      const oomKilled = record.cgroupPath !== undefined && (await countOomKills(record.cgroupPath, cgroups)) > 0
      return { id, status: 'exited', startedAt, user, exitCode: 137, finishedAt: Date.now(), ...exit, oomKilled }
    }
    const status = startedAt === undefined ? 'created' : 'running'
    return { id, status, pid: pidOf(identity), startedAt, user, isUnsupervised: !isMonitored }
  }

  return {
    kind: 'containers',
    version: `${tools.name}://${tools.version}`,
    prepare: async (image) => void (await layers.stack(image)),
    mountImage: async (image, target) => mountLayers(target, layers.dir, await layers.stack(image)),
    create: (spec) =>
      create(spec).catch(async (error: unknown) => {
        await remove(spec.id)
        throw error
      }),
    start,
    async kill(id, signal) {
      const record = await records.find(id)
      // The first process of a process namespace: SIGKILL takes all others with it, unless the namespace is shared.
      if (record?.process && isRunning(record.process)) sendSignal(pidOf(record.process), signal)
      if (signal === 'SIGKILL') await killRest(record)
    },
    update,
    writableDir: (id) => join(records.dirOf(id), 'upper'),
    state,
    exec: (id, execOptions) => runBounded(() => openOciExec(placeOf(id), { args: execOptions.args }), execOptions),
    openExec: (id, sessionOptions) => openOciExec(placeOf(id), sessionOptions),
    async attach(id, { stdin }) {
      const { process: identity } = await records.read(id)
      const bundle = records.dirOf(id)
      const { tty, hasInput } = await readStreams(bundle)
      return attachMonitored(bundle, {
        stdin: stdin && hasInput,
        tty,
        pid: identity === undefined ? 0 : pidOf(identity),
      })
    },
    reopenLog: (id) => reopenMonitoredLog(records.dirOf(id)),
    delete: remove,
    list: () => records.ids(),
    onExit: (listener) => exits.onExit(listener),
    openNamespaces,
    closeNamespaces,
    limitCgroup: (path, resources) => limitCgroup(path, cgroups, resources),
    removeCgroup: (path) => removeCgroup(path, cgroups),
    async prune(images, unusedMs) {
      // Containers go on after their image was removed, or its name has come to mean another.
      const mounts = await readFile('/proc/self/mountinfo', 'utf8')
      await layers.prune(images, unusedMs, (name) => mounts.includes(name))
    },
    async close() {
      stopWatching()
      exits.close()
      shell.close()
      if ((await records.ids()).length === 0) await rm(runDir, { recursive: true, force: true })
    },
  }
}

/** Throws `FAIRLEAD_OCI_RUNTIME_UNAVAILABLE`, naming what is missing, where {@link openOciRuntime} would. */
export async function requireOciRuntime(): Promise<void> {
  await locateTools(await detectCgroupLayout())
}

/** Tells a later process what this one asked the monitor for. */
const inputAnnotation = 'dev.fairlead.stdin'

async function readStreams(bundle: string): Promise<{ tty: boolean; hasInput: boolean }> {
  const config = JSON.parse(await readFile(join(bundle, 'config.json'), 'utf8')) as RuntimeConfig
  return { tty: config.process.terminal, hasInput: config.annotations?.[inputAnnotation] === 'true' }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

function sendSignal(pid: number, signal: NodeJS.Signals | number): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function isAlive(identity: string | undefined): boolean {
  return identity !== undefined && isRunning(identity)
}

/** conmon ends a moment after its container; its files must not be taken from under it. */
async function untilGone(identity: string): Promise<void> {
  const { setTimeout: sleep } = await import('node:timers/promises')
  for (let waitedMs = 0; isRunning(identity) && waitedMs < 2000; waitedMs += 5) await sleep(5)
  if (isRunning(identity)) sendSignal(pidOf(identity), 'SIGKILL')
}

async function userOf(spec: ContainerSpec, rootDir: string): Promise<UserIds> {
  const read = async (path: string): Promise<string> =>
    readFile(await resolveInRoot(rootDir, path), 'utf8').catch(() => '')
  const [passwd, group] = await Promise.all([read('etc/passwd'), read('etc/group')])
  const user = resolveUser(spec.user ?? spec.image.config.config?.User ?? '', { passwd, group })
  const own = spec.ignoresImageGroups ? [] : user.additionalGids
  return { ...user, additionalGids: [...new Set([...own, ...(spec.additionalGids ?? [])])] }
}

async function findTools(cgroups: string): Promise<Tools> {
  const located = await locateTools(cgroups)
  const version = /version ([\w.]+)/.exec(await runCommand(located.runtime, ['--version']))?.[1] ?? 'unknown'
  return { ...located, version }
}

async function locateTools(cgroups: string): Promise<Omit<Tools, 'version'>> {
  requireRoot(cgroups)
  const conmon = await findCommand('conmon')
  if (!conmon) throw runtimeUnavailable('"conmon" is not installed')
  const { path, name } = await locateRuntime(cgroups)
  return { runtime: path, name, conmon }
}

function requireRoot(cgroups: string): void {
  if (process.platform !== 'linux') throw runtimeUnavailable('containers exist on Linux only')
  if (process.getuid?.() !== 0) throw runtimeUnavailable('containers need root')
  if (cgroups === 'none') throw runtimeUnavailable('no control groups are mounted at "/sys/fs/cgroup"')
}

/** The OCI runtime alone, which runs containers in the foreground. Throws as {@link requireOciRuntime}. */
export async function locateRuntime(cgroups: string): Promise<{ path: string; name: string }> {
  requireRoot(cgroups)
  // crun 1.8 refuses machines that mix both versions of control groups.
  const names = cgroups === 'hybrid' ? ['runc'] : ['crun', 'runc']
  for (const name of names) {
    const path = await findCommand(name)
    if (path) return { path, name }
  }
  throw runtimeUnavailable(`${names.map((name) => `"${name}"`).join(' or ')} is not installed`)
}
