// Resident memory of a process and all it started, as the kernel counts it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'

/** Runs a command to its end; answers its seconds and the largest sum of resident sizes, in MB, looked at every 20 ms. */
export async function runMeasured(
  command: string,
  args: readonly string[],
  options: { cwd: string; env: NodeJS.ProcessEnv },
): Promise<{ seconds: number; peakMb: number; output: string }> {
  const startedAt = performance.now()
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  let peakKb = 0
  const ended = once(child, 'close')
  while (child.exitCode === null && child.signalCode === null) {
    peakKb = Math.max(peakKb, residentKb(child.pid ?? 0))
    await Promise.race([pause(20), ended])
  }
  await ended
  if (child.exitCode !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${child.exitCode}`)
  return { seconds: (performance.now() - startedAt) / 1000, peakMb: (peakKb * 1024) / 1e6, output }
}

/** Shared pages count for each process that has them, so this is rather too much than too little. */
function residentKb(pid: number): number {
  try {
    const own = Number(/^Rss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0)
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean)
    return own + children.reduce((sum, child) => sum + residentKb(Number(child)), 0)
  } catch {
    return 0
  }
}
