import { spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { constants } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { containerStart } from '../errors.ts'
import { toolEnvironment } from './command.ts'

/** What conmon is asked to make and to watch over. */
export interface MonitorOptions {
  readonly id: string
  readonly conmon: string
  /** Path of the OCI runtime. */
  readonly runtime: string
  /** State directory of the OCI runtime. */
  readonly runtimeRoot: string
  readonly bundle: string
  readonly logPath: string
  readonly exitDir: string
  /** Short: sockets below it must keep within 108 bytes. */
  readonly socketDir: string
  readonly timeoutMs?: number | undefined
  readonly stdin?: boolean | undefined
  readonly stdinOnce?: boolean | undefined
  readonly tty?: boolean | undefined
}

/** The container's first process and the monitor that owns its output. */
export interface Monitored {
  readonly pid: number
  readonly monitorPid: number
}

/**
 * Creates a container through conmon: it forks away from this process, runs the OCI runtime's `create`, holds the
 * container's standard streams, writes its log, and leaves its exit code in `exitDir`.
 */
export async function createMonitored(options: MonitorOptions): Promise<Monitored> {
  const child = spawn(options.conmon, monitorArguments(options), {
    detached: true,
    // It leaves a file named "oom" where it runs when memory ran out.
    cwd: options.bundle,
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    env: { ...toolEnvironment(), _OCI_SYNCPIPE: '3' },
  })
  const complaint = gather(child.stderr as Readable)
  const pipe = child.stdio[3] as Readable
  const timer = setTimeout(() => pipe.destroy(new Error('it did not answer in time')), options.timeoutMs ?? 60_000)
  try {
    const failed = new Promise<never>((_, reject) => child.on('error', reject))
    const answer = parseAnswer(await Promise.race([firstLine(pipe), failed]))
    if (answer.pid > 0) return { pid: answer.pid, monitorPid: await readPid(join(options.bundle, 'conmon.pid')) }
    throw new Error(answer.message || complaint() || 'the runtime gave no reason')
  } catch (cause) {
    throw containerStart(options.id, cause instanceof Error ? cause.message : String(cause), cause)
  } finally {
    clearTimeout(timer)
    pipe.destroy()
    child.stderr?.destroy()
  }
}

function monitorArguments(options: MonitorOptions): string[] {
  const { id, bundle } = options
  const pairs = {
    '--api-version': '1',
    '--cid': id,
    '--cuuid': id,
    '--name': id,
    '--runtime': options.runtime,
    '--runtime-arg': `--root=${options.runtimeRoot}`,
    '--bundle': bundle,
    '--persist-dir': bundle,
    '--exit-dir': options.exitDir,
    '--container-pidfile': join(bundle, 'pid'),
    '--conmon-pidfile': join(bundle, 'conmon.pid'),
    '--log-path': `k8s-file:${options.logPath}`,
    '--log-level': 'warning',
    '--socket-dir-path': options.socketDir,
  }
  const streams = [
    ...(options.tty ? ['--terminal'] : []),
    ...(options.stdin ? ['--stdin'] : []),
    ...(options.stdin && !options.stdinOnce ? ['--leave-stdin-open'] : []),
  ]
  return [...Object.entries(pairs).flat(), ...streams, '--full-attach', '--no-new-keyring', '--no-sync-log']
}

/** Tells conmon to open its log file anew. Its control pipe has no reader when it is gone: nothing to do then. */
export async function reopenMonitoredLog(bundle: string): Promise<void> {
  const pipe = await open(join(bundle, 'ctl'), constants.O_WRONLY | constants.O_NONBLOCK).catch(() => undefined)
  if (!pipe) return
  try {
    // "2" is conmon's message "reopen logs"; the two numbers are a window size, unused here.
    await pipe.write('2 0 0\n')
  } finally {
    await pipe.close()
  }
}

function parseAnswer(line: string): { pid: number; message: string } {
  if (line === '') return { pid: -1, message: '' }
  const answer = JSON.parse(line) as { data?: number; pid?: number; message?: string }
  return { pid: answer.data ?? answer.pid ?? -1, message: cleanMessage(answer.message ?? '') }
}

/** The runtime's own log lines (`level=error msg="..."`) or JSON, reduced to what they say. */
function cleanMessage(text: string): string {
  const quoted = [...text.matchAll(/msg="((?:[^"\\]|\\.)*)"/g)].map(([, message = '']) =>
    message.replaceAll('\\"', '"'),
  )
  return (quoted.at(-1) ?? text).trim()
}

async function firstLine(stream: Readable): Promise<string> {
  let text = ''
  for await (const chunk of stream.setEncoding('utf8')) {
    text += String(chunk)
    const end = text.indexOf('\n')
    if (end !== -1) return text.slice(0, end)
    if (text.length > 65_536) break
  }
  return text
}

function gather(stream: Readable): () => string {
  let text = ''
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    if (text.length < 65_536) text += chunk
  })
  stream.on('error', () => {})
  return () => cleanMessage(text)
}

async function readPid(path: string): Promise<number> {
  return Number((await readFile(path, 'utf8')).trim())
}
