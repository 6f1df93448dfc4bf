import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'

import { commandFailed } from '../errors.ts'
import { toolEnvironment } from './command.ts'
import type { CommandOptions, RunCommand } from './command.ts'

const DEFAULT_TIMEOUT_MS = 30_000

/** Runs system tools one after the other, from a shell that stays. */
export interface ToolShell {
  /** As `runCommand`. */
  readonly run: RunCommand
  /** Ends the shell; what is under way comes to its end first. */
  close(): void
}

interface Request {
  readonly file: string
  readonly args: readonly string[]
  readonly options: CommandOptions
  readonly answer: PromiseWithResolvers<string>
}

interface Shell {
  readonly child: ChildProcessWithoutNullStreams
  /** Ends the output of each tool: not to be guessed by what a tool prints. */
  readonly mark: string
}

/**
 * For tools that are short and many: to start a process, this one is forked with all its memory first, which takes longer than
 * most tools do. The shell is small. It starts with the first tool, and anew when it was killed.
 */
export function createToolShell(): ToolShell {
  const waiting: Request[] = []
  let shell: Shell | undefined
  let current: Request | undefined

  function next(): void {
    current = waiting.shift()
    if (current === undefined) {
      // An idle shell keeps no process from ending.
      refer(shell, false)
      return
    }
    shell ??= open()
    refer(shell, true)
    perform(shell, current)
  }

  function open(): Shell {
    // In a session of its own: what is typed to end this process is not meant for the shell.
    const child = spawn('/bin/sh', [], { env: toolEnvironment(), stdio: 'pipe', detached: true })
    const opened = { child, mark: `--${randomUUID()}--` }
    child.on('error', (cause) => lose(opened, cause))
    child.on('exit', () => lose(opened, undefined))
    child.stdin.on('error', () => {})
    return opened
  }

  /** The shell is gone, and with it the tool it was running. */
  function lose(lost: Shell, cause: unknown): void {
    if (shell !== lost) return
    shell = undefined
    const request = current
    if (request === undefined) return
    request.answer.reject(commandFailed(request.file, request.args, 'its shell has ended', cause))
    next()
  }

  function perform({ child, mark }: Shell, { file, args, options, answer }: Request): void {
    let output = ''
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? DEFAULT_TIMEOUT_MS)
    const hear = (chunk: Buffer): void => {
      output += chunk.toString()
      const end = output.lastIndexOf(`${mark} `)
      const code = /^(\d+)\n/.exec(end === -1 ? '' : output.slice(end + mark.length + 1))?.[1]
      if (code === undefined) return
      child.stdout.off('data', hear)
      const said = output.slice(0, end)
      if (code === '0') answer.resolve(said)
      else answer.reject(commandFailed(file, args, `exit code ${code}: ${said.trim().slice(0, 2000)}`))
      next()
    }
    const settled = (): void => {
      clearTimeout(timer)
      child.stdout.off('data', hear)
    }
    answer.promise.then(settled, settled)
    child.stdout.on('data', hear)
    child.stdin.write(renderLine(file, args, options.cwd, mark))
  }

  return {
    run(file, args, options = {}) {
      const answer = Promise.withResolvers<string>()
      waiting.push({ file, args, options, answer })
      if (current === undefined) next()
      return answer.promise
    },
    close: () => void shell?.child.stdin.end(),
  }
}

function renderLine(file: string, args: readonly string[], cwd: string | undefined, mark: string): string {
  const move = cwd === undefined ? '' : `cd ${quote(cwd)} && `
  const command = [file, ...args].map(quote).join(' ')
  return `(${move}exec ${command}) </dev/null 2>&1; printf '%s %d\\n' '${mark}' "$?"\n`
}

function quote(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`
}

/** Whether this process waits for the shell before it ends. */
function refer(shell: Shell | undefined, isNeeded: boolean): void {
  if (shell === undefined) return
  const { child } = shell
  // Pipes to a child are sockets, which the types do not say.
  const handles = [
    child,
    child.stdin as unknown as Socket,
    child.stdout as unknown as Socket,
    child.stderr as unknown as Socket,
  ]
  for (const handle of handles)
    if (isNeeded) handle.ref()
    else handle.unref()
}
