// What the end-to-end tests share: a private home for Fairlead, child processes with deadlines, waiting for conditions.
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { accessSync, chownSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { assertNoLeaks, footprintOf } from './leaks.ts'

export const repository: string = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))))
const launcher = join(repository, 'packages', 'cli', 'bin', 'fairlead.mjs')

export interface Finished {
  code: number
  stdout: string
  stderr: string
}

/** A private FAIRLEAD_HOME; `await using` stops its cluster and removes it. Caches are the machine's, so bases are fetched once. */
export class Home implements AsyncDisposable {
  readonly dir: string = mkdtempSync(join(tmpdir(), 'fairlead-e2e-'))
  readonly env: NodeJS.ProcessEnv

  private readonly uid: number | undefined

  /** `uid`: commands run as this user, who has a home directory and a cache below {@link dir}; for root only. */
  constructor(env: NodeJS.ProcessEnv = {}, { uid }: { uid?: number } = {}) {
    this.uid = uid
    const own = uid === undefined ? {} : { HOME: this.dir, FAIRLEAD_CACHE: join(this.dir, 'cache') }
    this.env = { ...process.env, FAIRLEAD_HOME: join(this.dir, 'home'), NO_COLOR: '1', ...own, ...env }
    if (uid !== undefined) chownSync(this.dir, uid, uid)
    delete this.env['NODE_TEST_CONTEXT']
    delete this.env['KUBECONFIG']
  }

  /** Runs the command line; never throws for a non-zero exit code. */
  fairlead(
    args: readonly string[],
    options: { cwd?: string; env?: NodeJS.ProcessEnv; timeoutMs?: number } = {},
  ): Promise<Finished> {
    return run(process.execPath, [launcher, ...args], {
      cwd: options.cwd ?? repository,
      env: { ...this.env, ...options.env },
      timeoutMs: options.timeoutMs ?? 180_000,
      ...(this.uid === undefined ? {} : { uid: this.uid }),
    })
  }

  /** Runs the command line and fails the test with its output when it does not exit with 0. */
  async fairleadOk(
    args: readonly string[],
    options: { cwd?: string; env?: NodeJS.ProcessEnv; timeoutMs?: number } = {},
  ): Promise<Finished> {
    const finished = await this.fairlead(args, options)
    if (finished.code !== 0)
      throw new Error(`fairlead ${args.join(' ')} exited with ${finished.code}\n${finished.stderr}\n${finished.stdout}`)
    return finished
  }

  /** Path of a kubeconfig file for the embedded cluster of this home. */
  async kubeconfig(): Promise<string> {
    return (await this.fairleadOk(['cluster', 'kubeconfig', '--path'])).stdout.trim()
  }

  /** Stops the cluster, removes everything, and fails when the cluster left something on the machine. */
  async [Symbol.asyncDispose](): Promise<void> {
    const footprint = footprintOf(this.env['FAIRLEAD_HOME'] ?? this.dir)
    const finished = await this.fairlead(['down', '--purge'])
    if (finished.code !== 0) throw new Error(`fairlead down failed\n${finished.stderr}`)
    await assertNoLeaks(footprint)
    rmSync(this.dir, { recursive: true, force: true })
  }
}

export interface Kubectl {
  (args: string, input?: string): Promise<string>
  /** For commands that are expected to fail, or whose stderr matters. */
  raw(args: readonly string[], input?: string): Promise<Finished>
  /** A command that keeps running (`-w`, `-f`); kill it when done. */
  start(args: readonly string[]): Streaming
}

/** The machine's own kubectl against one kubeconfig. `kubectl('get pods')` returns stdout and throws on failure. */
export function createKubectl(kubeconfig: string, home: string): Kubectl {
  // A cache of its own: kubectl caches discovery per host and port, and ports are reused between clusters.
  const env = { ...process.env, KUBECONFIG: kubeconfig, KUBECACHEDIR: join(home, 'kubectl-cache') }
  const raw = (args: readonly string[], input?: string): Promise<Finished> =>
    run('kubectl', args, { env, timeoutMs: 240_000, ...(input === undefined ? {} : { input }) })
  const kubectl = async (args: string, input?: string): Promise<string> => {
    const finished = await raw(args.split(' '), input)
    if (finished.code !== 0)
      throw new Error(`kubectl ${args} exited with ${finished.code}\n${finished.stderr}${finished.stdout}`)
    return finished.stdout
  }
  return Object.assign(kubectl, { raw, start: (args: readonly string[]) => new Streaming('kubectl', args, env) })
}

/** A child process whose output is collected while it runs. */
export class Streaming implements AsyncDisposable {
  stdout = ''
  stderr = ''
  private readonly child: ChildProcess
  private readonly closed: Promise<void>

  constructor(program: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    this.child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.child.stdout?.on('data', (chunk: Buffer) => (this.stdout += chunk.toString()))
    this.child.stderr?.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()))
    this.closed = new Promise((resolve) => this.child.once('close', () => resolve()))
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL')
    await this.closed
  }
}

/** Runs a program to its end, with a deadline. */
export function run(
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; input?: string; timeoutMs?: number; uid?: number } = {},
): Promise<Finished> {
  const user = options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { cwd: options.cwd, env: options.env, timeout: options.timeoutMs ?? 60_000, maxBuffer: 64 << 20, ...user },
      (error, stdout, stderr) => {
        if (error !== null && typeof error.code !== 'number')
          reject(new Error(`Cannot run "${program} ${args.join(' ')}": ${error.message}\n${stderr}`, { cause: error }))
        else resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
      },
    )
    // A program may have ended before it was given its input.
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.input ?? '')
  })
}

/** Waits until `probe` returns something truthy (an exception counts as "not yet") and returns it. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T> | T,
  deadlineMs = 60_000,
): Promise<NonNullable<T>> {
  const end = performance.now() + deadlineMs
  let last: unknown
  while (performance.now() < end) {
    try {
      const value = await probe()
      if (value) return value
      last = value
    } catch (error) {
      last = error
    }
    await pause(25)
  }
  throw new Error(
    `Waited ${deadlineMs} ms in vain for: ${what}; last seen: ${last instanceof Error ? last.message : JSON.stringify(last)}`,
  )
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** Why a test that needs these programs (and root) cannot run here, or false. In CI nothing may be missing. */
export function missing(programs: readonly string[], options: { root?: boolean } = {}): string | false {
  return orFail(whatIsMissing(programs, options))
}

/** A reason to skip, or false. In CI a reason is a failure. */
function orFail(reason: string | false): string | false {
  if (reason !== false && process.env['CI'] === 'true') throw new Error(`In CI nothing may be skipped: ${reason}`)
  return reason
}

function whatIsMissing(programs: readonly string[], options: { root?: boolean }): string | false {
  const absent = programs.filter((program) => !isOnPath(program))
  if (absent.length > 0) return `needs ${absent.join(', ')}`
  return options.root === true && process.getuid?.() !== 0 ? 'needs root' : false
}

function isOnPath(program: string): boolean {
  return [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'].some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
