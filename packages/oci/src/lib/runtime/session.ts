import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { readFile, readlink } from 'node:fs/promises'
import { basename } from 'node:path'
import { PassThrough } from 'node:stream'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

import { execFailed } from '../errors.ts'
import { findCommand, runCommand } from './command.ts'

/** A program in a container, or the container itself, with its standard streams at hand. Nothing is read ahead. */
export interface ContainerSession {
  /** Ending it is the end of input for the program; with a terminal there is no such thing, and it only stops. */
  readonly stdin: Writable | undefined
  /** With a terminal all output. */
  readonly stdout: Readable
  readonly stderr: Readable | undefined
  /** Tells the terminal its size in characters; without one nothing happens. */
  resize(columns: number, rows: number): Promise<void>
  /** Resolves with the exit code when the program has ended; undefined when it was only watched, not started. */
  readonly ended: Promise<number | undefined>
  /** Kills the program; one that was only attached to is let go. */
  kill(): void
  /**
   * Nobody is at the other end any more: input ends, a terminal is hung up (SIGHUP), a program that writes on gets SIGPIPE. One
   * that does neither goes on, as with containerd.
   */
  hangUp(): void
}

/** The output of a child that nobody reads yet. */
export interface HeldOutput {
  readonly stdout: Readable
  readonly stderr: Readable
}

/** Holds the output of a child from its start: Node throws away what nobody reads when the child ends. */
export function holdOutput({ stdout, stderr }: ChildProcess): HeldOutput {
  return { stdout: held(stdout), stderr: held(stderr) }
}

function held(stream: Readable | null): Readable {
  const holder = new PassThrough()
  if (stream === null) return holder.end()
  stream.on('error', () => holder.end())
  // Let go of by the reader: the program's next write shall fail.
  holder.on('close', () => stream.destroy())
  return stream.pipe(holder)
}

/** What {@link superviseSession} knows of the program it started. */
export interface SessionParts {
  readonly child: ChildProcess
  readonly output: HeldOutput
  readonly tty: boolean
  /** Of the program itself, as the host sees it; the child may only be its go-between. */
  readonly pid?: number | undefined
  /** The child leads to a program that ran before and goes on after it. Default false. */
  readonly isAttached?: boolean | undefined
}

/** Makes a session of a child whose standard streams are pipes. */
export function superviseSession({ child, output, tty, pid, isAttached = false }: SessionParts): ContainerSession {
  const { stdin } = child
  const { stdout, stderr } = output
  // A program may end before it has read everything: its pipe breaks, and that is its right.
  stdin?.on('error', () => {})
  const { promise: ended, resolve } = Promise.withResolvers<number | undefined>()
  child.on('error', () => resolve(undefined))
  child.on('exit', (code) => resolve(isAttached ? undefined : (code ?? 137)))
  if (child.exitCode !== null || child.signalCode !== null) resolve(isAttached ? undefined : (child.exitCode ?? 137))
  if (tty) stderr.resume()
  return {
    stdin: stdin ?? undefined,
    stdout,
    stderr: tty ? undefined : stderr,
    async resize(columns, rows) {
      if (tty && pid !== undefined) await resizeTerminal(pid, columns, rows)
    },
    ended,
    kill() {
      if (isAttached || pid === undefined) child.kill('SIGKILL')
      else killQuietly(pid, 'SIGKILL')
    },
    hangUp() {
      stdin?.destroy()
      stdout.destroy()
      stderr.destroy()
      // The go-between that holds the terminal: with it the terminal is gone, and the kernel tells whoever sits at it.
      if (tty || isAttached) child.kill('SIGKILL')
    },
  }
}

/** Starts a program whose terminal is made by `script` (util-linux): Node cannot make one. */
export async function spawnOnTerminal(
  argv: readonly string[],
  options: { cwd?: string; env: NodeJS.ProcessEnv; argv0?: string },
): Promise<ChildProcess> {
  const words = named(argv, options.argv0)
  const line = `exec ${words.map(quote).join(' ')}`
  const args = process.platform === 'darwin' ? ['-q', '/dev/null', ...words] : ['-qefc', line, '/dev/null']
  const script = await findCommand('script')
  if (script === undefined)
    throw execFailed('exec failed: a terminal takes "script" of util-linux, which is not installed')
  return spawn(script, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...options.env, SHELL: '/bin/sh' },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
}

/** A shell cannot start a program by another name than its file's; Node can. */
function named(argv: readonly string[], argv0: string | undefined): readonly string[] {
  const [file = '', ...rest] = argv
  if (argv0 === undefined || basename(file) === basename(argv0)) return argv
  const code = 'process.execve(process.argv[1], process.argv.slice(2))'
  return [process.execPath, '--no-warnings', '-e', code, '--', file, argv0, ...rest]
}

/** The process that `script` runs the program in; undefined where there is no /proc. */
export async function childOf(pid: number): Promise<number | undefined> {
  for (let tries = 0; tries < 100; tries += 1) {
    const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'latin1').catch(() => undefined)
    if (text === undefined) return undefined
    const first = Number.parseInt(text, 10)
    if (first > 0) return first
    await sleep(5)
  }
  return undefined
}

/** Sets the size of the terminal a process sits at, reached through its own file system; the kernel then sends SIGWINCH. */
async function resizeTerminal(pid: number, columns: number, rows: number): Promise<void> {
  const path = await terminalOf(pid)
  if (path === undefined) return
  const terminal = `/proc/${pid}/root${path}`
  // The program may have ended meanwhile.
  await runCommand('stty', ['-F', terminal, 'cols', String(columns), 'rows', String(rows)]).catch(() => {})
}

/** The terminal of a process; one that was started just now has to be waited for. Undefined when it has ended or has none. */
async function terminalOf(pid: number): Promise<string | undefined> {
  for (let tries = 0; tries < 200; tries += 1) {
    const path = await readlink(`/proc/${pid}/fd/0`).catch(() => undefined)
    if (path === undefined) return undefined
    if (/^\/dev\/pts\/\d+$/.test(path)) return path
    await sleep(10)
  }
  return undefined
}

function killQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended by itself.
  }
}

function quote(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`
}
