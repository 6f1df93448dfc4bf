import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { findControllers } from './cgroup-paths.ts'

/** A memory cgroup below that of this process, with a limit. `await using` removes it. */
export interface MemoryGroup extends AsyncDisposable {
  /** Runs a command in it until it ends. */
  run(command: readonly string[], env?: Readonly<Record<string, string>>): Promise<GroupResult>
  /** Holds the limit in bytes; may be written to. */
  readonly limitFile: string
  readonly peakBytes: number
  readonly oomKills: number
}
export interface GroupResult {
  readonly code: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
}

/** Makes a group, or says in one sentence why that is not possible here. */
export function createMemoryGroup(limitBytes: number): MemoryGroup | string {
  const root = '/'
  try {
    const controllers = findControllers(readProc('cgroup'), readProc('mountinfo'), root)
    const memory = controllers.get('memory')
    const parent = memory?.folders[0]
    if (memory === undefined || parent === undefined) return 'there is no memory cgroup'
    const folder = join(parent, `fairlead-test-${process.pid}-${Math.trunc(performance.now() * 1000)}`)
    mkdirSync(folder)
    const files =
      memory.version === 1
        ? { limit: 'memory.limit_in_bytes', peak: 'memory.max_usage_in_bytes', events: 'memory.oom_control' }
        : { limit: 'memory.max', peak: 'memory.peak', events: 'memory.events' }
    const group: MemoryGroup = {
      run: (command, env = {}) => runIn(folder, command, env),
      limitFile: join(folder, files.limit),
      get peakBytes() {
        return Number(readFileSync(join(folder, files.peak), 'utf8'))
      },
      get oomKills() {
        return Number(/^oom_kill (\d+)$/m.exec(readFileSync(join(folder, files.events), 'utf8'))?.[1])
      },
      [Symbol.asyncDispose]: () => removeGroup(folder),
    }
    try {
      writeFileSync(group.limitFile, String(limitBytes))
    } catch (error) {
      rmdirSync(folder)
      throw error
    }
    return group
  } catch (error) {
    return `no memory cgroup can be made: ${error instanceof Error ? error.message : String(error)}`
  }
}

async function runIn(
  folder: string,
  command: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<GroupResult> {
  // The shell goes into the group and then becomes the command, so that all of its memory counts.
  const child = spawn('/bin/sh', ['-c', 'echo $$ > "$0/cgroup.procs" && exec "$@"', folder, ...command], {
    env: { ...process.env, NODE_OPTIONS: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGTERM',
  })
  const ended = new Promise<Pick<GroupResult, 'code' | 'signal'>>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal }))
  })
  const [stdout, stderr, end] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { ...end, stdout, stderr }
}

/** The kernel takes a moment to let go of a process that has ended. */
async function removeGroup(folder: string): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      rmdirSync(folder)
      return
    } catch (error) {
      if (attempt === 100) throw error
      await sleep(20)
    }
  }
}

function readProc(name: string): string {
  return readFileSync(`/proc/self/${name}`, 'utf8')
}
