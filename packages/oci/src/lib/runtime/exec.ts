import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { execFailed } from '../errors.ts'
import { toolEnvironment } from './command.ts'
import type { RuntimeConfig, RuntimeProcess } from './config.ts'
import type { ExecOptions, ExecResult, SessionOptions } from './driver.ts'
import { holdOutput, spawnOnTerminal, superviseSession } from './session.ts'
import type { ContainerSession } from './session.ts'

/** Where {@link openOciExec} finds the runtime and the container. */
export interface ExecPlace {
  readonly runtime: string
  readonly runtimeRoot: string
  readonly id: string
  readonly bundle: string
}

/** Runs a program in a container by the OCI runtime's `exec`, with the container's own user, environment and directory. */
export async function openOciExec(place: ExecPlace, options: SessionOptions): Promise<ContainerSession> {
  const { runtime, runtimeRoot, id, bundle } = place
  const name = join(bundle, `exec-${randomUUID()}`)
  const [specFile, pidFile, logFile] = [`${name}.json`, `${name}.pid`, `${name}.log`]
  const cleanUp = async (): Promise<void> => {
    await Promise.all([specFile, pidFile, logFile].map((file) => rm(file, { force: true })))
  }
  try {
    await writeFile(specFile, JSON.stringify(await processSpec(bundle, options)))
    const log = ['--log', logFile, '--log-format', 'json']
    const argv = [runtime, '--root', runtimeRoot, ...log, 'exec', '--process', specFile, '--pid-file', pidFile, id]
    const env = toolEnvironment()
    const [file = '', ...args] = argv
    const child = options.tty
      ? await spawnOnTerminal(argv, { env })
      : spawn(file, args, { env, stdio: [options.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'] })
    const output = holdOutput(child)
    // Its errors go to the same place as the program's; they are told by its log, and the child by its end.
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()).once('error', () => resolve()))
    const pid = await readPid(pidFile, gone)
    if (pid === undefined) {
      child.kill('SIGKILL')
      throw execFailed(await readComplaint(logFile))
    }
    return superviseSession({ child, output, tty: options.tty === true, pid })
  } finally {
    await cleanUp()
  }
}

/** The container's own process with other arguments (runtime-spec, config.md, "Process"). */
async function processSpec(bundle: string, { args, tty = false }: SessionOptions): Promise<RuntimeProcess> {
  const config = JSON.parse(await readFile(join(bundle, 'config.json'), 'utf8')) as RuntimeConfig
  const { env } = config.process
  const needsTerm = tty && !env.some((entry) => entry.startsWith('TERM='))
  return { ...config.process, args, terminal: tty, env: needsTerm ? [...env, 'TERM=xterm'] : env }
}

/** The runtime writes it when the program runs; undefined when the runtime ended without. */
async function readPid(path: string, gone: Promise<void>): Promise<number | undefined> {
  let isGone = false
  void gone.then(() => (isGone = true))
  for (let tries = 0; tries < 6000; tries += 1) {
    const wasGone = isGone
    const text = await readFile(path, 'utf8').catch(() => '')
    if (/^\d+$/.test(text.trim())) return Number(text)
    if (wasGone) return undefined
    await Promise.race([sleep(tries < 100 ? 3 : 10), gone])
  }
  return undefined
}

/** The last error of the runtime's log (JSON lines). */
async function readComplaint(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '')
  for (const line of text.trim().split('\n').toReversed()) {
    const { level, msg } = parseLine(line)
    if (level === 'error' && typeof msg === 'string') return msg
  }
  return 'exec failed: the runtime gave no reason'
}

function parseLine(line: string): { level?: unknown; msg?: unknown } {
  try {
    return JSON.parse(line) as { level?: unknown; msg?: unknown }
  } catch {
    return {}
  }
}

/** Runs a session to its end with its output gathered and its time bounded. */
export async function runBounded(open: () => Promise<ContainerSession>, options: ExecOptions): Promise<ExecResult> {
  const limit = options.maxOutputBytes ?? 1 << 20
  let output = ''
  const stopped = Promise.withResolvers<'stopped'>()
  const stop = (): void => stopped.resolve('stopped')
  const timer = setTimeout(stop, options.timeoutMs ?? 60_000)
  options.signal?.addEventListener('abort', stop, { once: true })
  const opening = open()
  const take = (chunk: string): void => {
    if (output.length < limit) output += chunk.slice(0, limit - output.length)
  }
  try {
    const session = await Promise.race([opening, stopped.promise])
    if (session === 'stopped') {
      // The runtime has not even started it; when it does, it is in vain.
      void opening.then(endQuietly, () => {})
      return { output }
    }
    const { stdout, stderr } = session
    const streams = stderr === undefined ? [stdout] : [stdout, stderr]
    const closed = streams.map((stream) => new Promise((resolve) => stream.once('close', resolve)))
    for (const stream of streams) stream.setEncoding('utf8').on('data', take)
    // Its end alone would lose output; the end of its streams is up to whoever inherited them.
    const exitCode = await Promise.race([session.ended, stopped.promise])
    if (exitCode === 'stopped') {
      endQuietly(session)
      return { output }
    }
    await Promise.race([Promise.all(closed), stopped.promise])
    return { exitCode, output }
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', stop)
  }
}

function endQuietly(session: ContainerSession): void {
  session.kill()
  session.hangUp()
}
