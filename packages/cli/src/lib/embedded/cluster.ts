import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { connectKube, type KubeClient, parseKubeconfig } from '@fairlead/kube'
import { clusterAbsent, clusterDied, clusterHeld, clusterStuck, usage } from '../errors.ts'
import type { Homes } from '../homes.ts'
import {
  type ClusterChoices,
  type ClusterFiles,
  clusterFiles,
  type ClusterProcess,
  describeRuntime,
  readLastLines,
  readProcess,
} from './files.ts'
import { findProcess, hasDied, holdsMounts, isAlive, waitForEnd } from './process.ts'
import type { StartMessage } from './run.ts'

/** Name of the cluster that commands mean when they name none. */
export const defaultCluster = 'default'

/** How long an empty machine may take to start a cluster; it is ready in well under a second. */
const startDeadlineMs = 60_000
/** How long a cluster that stops may say nothing: it tells that it goes on every few seconds. */
const stopDeadlineMs = 90_000
const maxLogBytes = 10 * 1024 * 1024

export interface StartOptions extends ClusterChoices {
  readonly homes: Homes
  /** Port of the API server. Default: the one of the last time, else a free one. */
  readonly port?: number | undefined
  /** Port of the registry. Default: the one of the last time, else a free one. */
  readonly registryPort?: number | undefined
  readonly signal: AbortSignal
}

/** A cluster that runs. */
export interface RunningCluster {
  readonly process: ClusterProcess
  /** Whether this call started it. */
  readonly isStarted: boolean
}

/** Files of the default cluster. */
export function embeddedFiles(homes: Homes): ClusterFiles {
  return clusterFiles(homes.cluster(defaultCluster))
}

/** Starts the embedded cluster as a background process, or finds it running; resolves when it answers. */
export async function ensureCluster(options: StartOptions): Promise<RunningCluster> {
  const files = embeddedFiles(options.homes)
  const running = findProcess(files)
  if (running) return { process: await waitForReady(files, running, options.signal), isStarted: false }
  mkdirSync(files.dir, { recursive: true, mode: 0o700 })
  return await launch(files, { ...options, ...keepChoices(options, readProcess(files)) })
}

/** A client for the embedded cluster. Throws FAIRLEAD_CLI_CLUSTER_ABSENT when it does not run. */
export function connectEmbedded(homes: Homes): KubeClient {
  const files = embeddedFiles(homes)
  if (findProcess(files)?.state !== 'ready') throw clusterAbsent()
  return connectKube({ kubeconfig: parseKubeconfig(readFileSync(files.kubeconfig, 'utf8'), files.kubeconfig) })
}

/** Whether the API server answers that it is ready. */
export async function isHealthy(client: KubeClient, signal: AbortSignal): Promise<boolean> {
  try {
    const { status, body } = await client.request({ method: 'GET', path: '/readyz', deadlineMs: 5_000, signal })
    for await (const _ of body);
    return status === 200
  } catch {
    return false
  }
}

/**
 * Stops the embedded cluster and its pods; whether there was something to stop. A cluster whose process was killed
 * left its containers behind, and one that could not clear them all away some of them: it is started once more, takes them over and
 * stops them.
 */
export async function stopCluster(options: StartOptions): Promise<boolean> {
  const files = embeddedFiles(options.homes)
  const hasLeft = hasDied(files) || holdsMounts(files.dir)
  const running = findProcess(files) ?? (hasLeft ? (await ensureCluster(options)).process : undefined)
  if (!running) return false
  await endProcess(files, running, options.signal)
  return true
}

/** Removes everything the embedded cluster keeps, or nothing while pods hold some of it. It must not run. */
export function removeCluster(homes: Homes): boolean {
  const { dir } = embeddedFiles(homes)
  if (!existsSync(dir)) return false
  if (holdsMounts(dir)) throw clusterHeld(dir)
  rmSync(dir, { recursive: true, force: true })
  return true
}

/**
 * What was asked for, and for the rest what was chosen for the process that died: its pods still run that way, and the
 * next process takes them over. Throws FAIRLEAD_CLI_USAGE where both cannot be had.
 */
export function keepChoices(asked: ClusterChoices, died: ClusterProcess | undefined): ClusterChoices {
  const { runtime, durability, imagePolicy, auditLog, auditPolicy, accessLog, kubeletConfig } = asked
  const { noRegistry, noGateway, nodes, zones } = asked
  if (died && runtime !== undefined && !isRunBy(died, runtime)) {
    throw usage(
      `Cannot use "--runtime ${runtime}": the cluster died, and its pods still run as ${describeRuntime(died)}`,
      'Run fairlead cluster stop first, which ends them',
    )
  }
  return {
    runtime: runtime ?? died?.choices?.runtime,
    durability: durability ?? died?.choices?.durability,
    imagePolicy: imagePolicy ?? died?.choices?.imagePolicy,
    auditLog: auditLog ?? died?.choices?.auditLog,
    auditPolicy: auditPolicy ?? died?.choices?.auditPolicy,
    accessLog: accessLog ?? died?.choices?.accessLog,
    kubeletConfig: kubeletConfig ?? died?.choices?.kubeletConfig,
    noRegistry: noRegistry ?? died?.choices?.noRegistry,
    noGateway: noGateway ?? died?.choices?.noGateway,
    nodes: nodes ?? died?.choices?.nodes,
    zones: zones ?? died?.choices?.zones,
  }
}

/** Whether the pods of a cluster run the way that `runtime` asks for; `auto` asks for nothing. */
export function isRunBy({ runtime: used }: ClusterProcess, runtime: NonNullable<ClusterChoices['runtime']>): boolean {
  if (used === undefined || runtime === 'auto') return true
  return (runtime === 'process') === (used.kind === 'processes')
}

async function endProcess(files: ClusterFiles, running: ClusterProcess, signal?: AbortSignal): Promise<void> {
  process.kill(running.pid, 'SIGTERM')
  while (!(await waitForEnd(running, stopDeadlineMs, signal))) {
    const { stoppingAt = 0 } = findProcess(files) ?? {}
    if (Date.now() - stoppingAt >= stopDeadlineMs) throw clusterStuck('stop', running.pid, files.log)
  }
}

async function waitForReady(
  files: ClusterFiles,
  running: ClusterProcess,
  signal: AbortSignal,
): Promise<ClusterProcess> {
  const deadline = Date.now() + startDeadlineMs
  for (let current = running; ; await sleep(20, undefined, { signal })) {
    if (!isAlive(current))
      throw clusterDied('its process ended while it started', files.log, readLastLines(files.log, 5))
    if (current.state === 'ready') return current
    if (Date.now() > deadline) throw clusterStuck('start', current.pid, files.log)
    current = findProcess(files) ?? current
  }
}

/** Entry of the CLI, run again as `cluster run`: a source in the repository, a bundle where the package is installed. */
const main = fileURLToPath(import.meta.resolve('fairlead/main'))

async function launch(files: ClusterFiles, options: StartOptions): Promise<RunningCluster> {
  const { homes, port, registryPort, runtime, durability, imagePolicy, auditLog, auditPolicy, noRegistry } = options
  const { noGateway, nodes, zones, accessLog, kubeletConfig, signal } = options
  signal.throwIfAborted()
  const child = spawnDetached(files, [
    'cluster',
    'run',
    `--dir=${files.dir}`,
    `--images=${homes.images}`,
    ...(port === undefined ? [] : [`--port=${port}`]),
    ...(registryPort === undefined ? [] : [`--registry-port=${registryPort}`]),
    ...(noRegistry ? ['--no-registry'] : []),
    ...(noGateway ? ['--no-gateway'] : []),
    ...(nodes === undefined ? [] : [`--nodes=${nodes}`]),
    ...(zones === undefined ? [] : [`--zones=${zones.join(',')}`]),
    ...(runtime === undefined ? [] : [`--runtime=${runtime}`]),
    ...(durability === undefined ? [] : [`--durability=${durability}`]),
    ...(imagePolicy === undefined ? [] : [`--image-policy=${imagePolicy}`]),
    ...(auditLog === undefined ? [] : [`--audit-log=${auditLog}`]),
    ...(auditPolicy === undefined ? [] : [`--audit-policy=${auditPolicy}`]),
    ...(accessLog === undefined ? [] : [`--access-log=${accessLog}`]),
    ...(kubeletConfig === undefined ? [] : [`--kubelet-config=${kubeletConfig}`]),
  ])
  try {
    const message = await nextMessage(child, files, AbortSignal.any([signal, AbortSignal.timeout(startDeadlineMs)]))
    if (message.type === 'failed') throw revive(message.error)
    if (message.type === 'taken') return await ensureCluster(options)
    return { process: message.process, isStarted: true }
  } catch (error) {
    // Ended by its pid before we leave, so that a command that failed or was interrupted leaves nothing running.
    await endChild(child)
    signal.throwIfAborted()
    throw error
  } finally {
    if (child.connected) child.disconnect()
    child.unref()
  }
}

function spawnDetached(files: ClusterFiles, args: readonly string[]): ChildProcess {
  rotateLog(files.log)
  const log = openSync(files.log, 'a', 0o600)
  try {
    return spawn(process.execPath, [...process.execArgv, main, ...args], {
      cwd: files.dir,
      detached: true,
      stdio: ['ignore', log, log, 'ipc'],
    })
  } finally {
    closeSync(log)
  }
}

function rotateLog(file: string): void {
  if (existsSync(file) && statSync(file).size > maxLogBytes) renameSync(file, `${file}.1`)
}

function nextMessage(child: ChildProcess, files: ClusterFiles, signal: AbortSignal): Promise<StartMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<StartMessage>()
  child.once('message', (message: StartMessage) => resolve(message))
  child.once('error', (error) => reject(clusterDied('its process cannot be started', files.log, [], error)))
  child.once('exit', (code, killedBy) => {
    const how = killedBy === null ? `ended with exit code ${code}` : `was ended by ${killedBy}`
    reject(clusterDied(`its process ${how}`, files.log, readLastLines(files.log, 5)))
  })
  const abort = (): void => reject(clusterStuck('start', child.pid ?? 0, files.log))
  signal.addEventListener('abort', abort, { once: true })
  return promise.finally(() => signal.removeEventListener('abort', abort))
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const { promise, resolve } = Promise.withResolvers<void>()
  child.once('exit', () => resolve())
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), stopDeadlineMs)
  await promise.finally(() => clearTimeout(timer))
}

/** An error as it crossed the process border. */
function revive({ message, code, hint, causes }: Extract<StartMessage, { type: 'failed' }>['error']): Error {
  const cause = causes.reduceRight<Error | undefined>((inner, text) => new Error(text, { cause: inner }), undefined)
  return Object.assign(new Error(message, { cause }), { code, hint })
}
