import { constants, openSync } from 'node:fs'
import { open, readFile, rm } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'

import { containerStart } from '../errors.ts'
import type { RunCommand } from './command.ts'

/** What conmon is asked to make and to watch over. */
export interface MonitorOptions {
  readonly id: string
  readonly conmon: string
  /** Command line of the OCI runtime, before the verb; the program is a path. */
  readonly runtime: readonly string[]
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
 * Creates a container through conmon: it forks away, runs the OCI runtime's `create`, holds the container's standard
 * streams, writes its log, and leaves its exit code in `exitDir`. `run` starts it, from a process that is small: to be
 * forked with all its memory takes this one tens of milliseconds, in which nobody else is served.
 */
export async function createMonitored(options: MonitorOptions, run: RunCommand): Promise<Monitored> {
  const { bundle, timeoutMs = 60_000 } = options
  try {
    await run('mkfifo', ['-m', '600', join(bundle, SYNC)])
    const start = ['-c', START, 'sh', options.conmon, ...monitorArguments(options)]
    const line = await answerOf(join(bundle, SYNC), timeoutMs, () => run('sh', start, { cwd: bundle, timeoutMs }))
    const { pid, message } = parseAnswer(line)
    if (pid > 0) return { pid, monitorPid: await readPid(join(bundle, 'conmon.pid')) }
    throw new Error(message || (await readComplaint(bundle)) || 'the runtime gave no reason')
  } catch (cause) {
    throw containerStart(options.id, cause instanceof Error ? cause.message : String(cause), cause)
  }
}

/** It leaves a file named "oom" where it runs when memory ran out; its streams must not be those of the shell. */
const START = 'export _OCI_SYNCPIPE=3; exec "$@" </dev/null >/dev/null 2>complaint 3>sync'
const SYNC = 'sync'

/** The first line that what `start` begins writes to the named pipe; empty when it ended without one. */
async function answerOf(path: string, timeoutMs: number, start: () => Promise<unknown>): Promise<string> {
  // A pipe that nobody writes to yet would be at its end: until the other has it, this process could write to it.
  const held = await open(path, constants.O_RDWR | constants.O_NONBLOCK)
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const pipe = new Socket({ fd, readable: true, writable: false })
  const timer = setTimeout(() => pipe.destroy(new Error('it did not answer in time')), timeoutMs)
  try {
    const answer = firstLine(pipe)
    // Not unheard where the start fails first.
    answer.catch(() => {})
    await start().finally(() => held.close())
    return await answer
  } finally {
    clearTimeout(timer)
    pipe.destroy()
    await rm(path, { force: true })
  }
}

function monitorArguments(options: MonitorOptions): string[] {
  const { id, bundle } = options
  const [program = '', ...programArguments] = options.runtime
  const pairs = {
    '--api-version': '1',
    '--cid': id,
    '--cuuid': id,
    '--name': id,
    '--runtime': program,
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
  const runtime = programArguments.flatMap((argument) => ['--runtime-arg', argument])
  return [...Object.entries(pairs).flat(), ...runtime, ...streams, '--full-attach', '--no-new-keyring', '--no-sync-log']
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

async function readComplaint(bundle: string): Promise<string> {
  const text = await readFile(join(bundle, 'complaint'), 'utf8').catch(() => '')
  return cleanMessage(text.slice(0, 65_536))
}

async function readPid(path: string): Promise<number> {
  return Number((await readFile(path, 'utf8')).trim())
}
