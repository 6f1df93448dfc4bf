import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { runTool, toolEnvironment } from './command.ts'
import { networkCommand } from '../errors.ts'

/** Loads rules into the kernel's packet filter. */
export interface RuleWriter {
  /** Applies the commands as one transaction: all of them, or none and an error. Calls are worked off in order. */
  apply(commands: readonly string[]): Promise<void>
  close(): void
}

type Shell = ChildProcessByStdio<Writable, Readable, null>

// Any command with one line of constant output serves as the mark behind a transaction.
const mark = 'describe tcp dport'
const markOutput = /^payload expression, datatype inet_service.*\n/m

const answerTimeoutMs = 5_000

/**
 * Opens a writer that keeps one `nft --interactive` running: a transaction then takes under a millisecond instead of the
 * 10-20 ms of starting a process, which is what traffic to a stopping pod waits for. Where nft has no interactive mode,
 * each transaction starts a process.
 */
export function openRuleWriter(table: string): RuleWriter {
  let shell: Shell | undefined
  let failures = 0
  let queue = Promise.resolve()
  let closed = false

  async function apply(commands: readonly string[]): Promise<void> {
    if (failures < 3) {
      try {
        shell ??= startShell()
        const complaint = await converse(shell, commands.join('; '))
        failures = 0
        if (!complaint.includes('Error')) return
        throw refused(table, complaint)
      } catch (error) {
        if (!(error instanceof ShellGone)) throw error
        stop()
        failures++
      }
    }
    await runTool('nft', ['-f', '-'], { act: 'load rules into', subject: table, input: `${commands.join('\n')}\n` })
  }

  function stop(): void {
    shell?.stdin.end()
    shell?.kill('SIGKILL')
    shell = undefined
  }

  return {
    apply(commands) {
      if (commands.length === 0) return queue
      const turn = queue.then(() => (closed ? undefined : apply(commands)))
      queue = turn.catch(() => {})
      return turn
    },
    close() {
      closed = true
      stop()
    },
  }
}

function startShell(): Shell {
  // One stream for output and complaints keeps them in order.
  const child = spawn('sh', ['-c', 'exec nft --interactive 2>&1'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: toolEnvironment(),
  })
  child.stdout.setEncoding('utf8')
  child.stdin.on('error', () => {})
  child.on('error', () => {})
  // The daemon may end whenever it likes: the shell sees the end of its input.
  child.unref()
  return child
}

class ShellGone extends Error {}

/** Sends one line and returns what was said about it. */
function converse(shell: Shell, line: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let output = ''
  const timer = setTimeout(() => settle(() => reject(new ShellGone())), answerTimeoutMs)
  const onData = (text: string): void => {
    output += text
    const answer = markOutput.exec(output)
    if (answer !== null) settle(() => resolve(output.slice(0, answer.index)))
  }
  const onEnd = (): void => settle(() => reject(new ShellGone()))
  function settle(finish: () => void): void {
    clearTimeout(timer)
    shell.stdout.off('data', onData).off('close', onEnd)
    shell.off('error', onEnd)
    finish()
  }
  shell.stdout.on('data', onData).on('close', onEnd)
  shell.on('error', onEnd)
  shell.stdin.write(`${line}\n${mark}\n`)
  return promise
}

function refused(table: string, complaint: string): Error {
  return networkCommand('load rules into', table, complaint.slice(0, 1000))
}
