import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { toolEnvironment } from './command.ts'
import type { ExecOptions, ExecResult } from './driver.ts'

/** Runs a program in a container by the OCI runtime's `exec`, with the container's own user, environment and directory. */
export async function execInContainer(
  runtime: string,
  runtimeArgs: readonly string[],
  id: string,
  dir: string,
  options: ExecOptions,
): Promise<ExecResult> {
  const pidFile = join(dir, `exec-${randomUUID()}`)
  try {
    return await runBounded(
      [runtime, ...runtimeArgs, '--pid-file', pidFile, id, ...options.args],
      options,
      { env: toolEnvironment() },
      () => readPid(pidFile),
    )
  } finally {
    await rm(pidFile, { force: true })
  }
}

/** Runs `argv` with its output gathered and its time bounded; `innerPid` names the process to kill besides the child. */
export async function runBounded(
  argv: readonly string[],
  options: ExecOptions,
  spawning: { cwd?: string; env: NodeJS.ProcessEnv; argv0?: string },
  innerPid: () => Promise<number>,
): Promise<ExecResult> {
  const { promise, resolve, reject } = Promise.withResolvers<ExecResult>()
  const [file = '', ...args] = argv
  const child = spawn(file, args, { ...spawning, stdio: ['ignore', 'pipe', 'pipe'] })
  const limit = options.maxOutputBytes ?? 1 << 20
  let output = ''
  let isStopped = false
  const take = (chunk: string): void => {
    if (output.length < limit) output += chunk.slice(0, limit - output.length)
  }
  child.stdout.setEncoding('utf8').on('data', take)
  child.stderr.setEncoding('utf8').on('data', take)
  const stop = (): void => {
    isStopped = true
    void endBoth()
  }
  async function endBoth(): Promise<void> {
    const pid = await innerPid()
    if (pid <= 0) return void child.kill('SIGKILL')
    // The runtime's own child is in another process namespace and would outlive it. The runtime then ends by itself, having
    // reaped the child: left to the machine's init that may take seconds, which the container's end would wait for.
    killQuietly(pid)
    await sleep(1000, undefined, { ref: false })
    child.kill('SIGKILL')
  }
  const timer = setTimeout(stop, options.timeoutMs ?? 60_000)
  options.signal?.addEventListener('abort', stop, { once: true })
  const settle = (): void => {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', stop)
  }
  child.on('error', (error) => {
    settle()
    reject(error)
  })
  // "exit" would lose output; "close" would wait for whoever inherited the pipes, which a stopped program's children may.
  child.on('exit', (code) => {
    if (isStopped) finish(undefined)
    else child.once('close', () => finish(code ?? 137))
  })
  function finish(exitCode: number | undefined): void {
    settle()
    child.stdout.destroy()
    child.stderr.destroy()
    resolve({ exitCode, output })
  }
  return promise
}

/** The runtime writes it a moment after it was started; without it the program could not be stopped. */
async function readPid(path: string): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const text = await readFile(path, 'utf8').catch(() => '')
    if (/^\d+$/.test(text.trim())) return Number(text)
    await sleep(10)
  }
  return 0
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}
