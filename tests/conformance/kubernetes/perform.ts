import { spawn } from 'node:child_process'
import { once } from 'node:events'

export interface PerformOptions {
  readonly cwd?: string | undefined
  readonly env?: NodeJS.ProcessEnv | undefined
  /** Default: ten minutes. */
  readonly timeoutMs?: number | undefined
}

/** Runs a program to its end and returns its output; what it says beside that goes to the terminal. Throws unless it succeeds. */
export async function perform(
  program: string,
  args: readonly string[],
  options: PerformOptions = {},
): Promise<{ stdout: string }> {
  const { cwd, env = process.env, timeoutMs = 600_000 } = options
  const child = spawn(program, args, { cwd, env, timeout: timeoutMs, stdio: ['ignore', 'pipe', 'inherit'] })
  const pieces: Buffer[] = []
  child.stdout.on('data', (piece: Buffer) => pieces.push(piece))
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  if (code !== 0) throw new Error(`Cannot run "${program} ${args.join(' ')}": it ended with ${String(code ?? signal)}`)
  return { stdout: Buffer.concat(pieces).toString('utf8') }
}
