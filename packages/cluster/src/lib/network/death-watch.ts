import { spawn } from 'node:child_process'
import { toolEnvironment } from './command.ts'

/** Waits beside this process to act when it ends without a word. */
export interface DeathWatch {
  /** There is nothing to be done any more. */
  [Symbol.dispose](): void
}

/** What is done then. */
export interface LastWill {
  /** Told to the packet filter, in one line. */
  readonly rules: string
  /** Flows to be forgotten, as arguments of conntrack; without that program they end by themselves. */
  readonly flows: readonly string[]
}

/**
 * Has it done at the very moment this process is gone, however it went: the end of a pipe is seen by a shell, which is in a session of its own,
 * so that what ends a group of processes does not end it.
 */
export function openDeathWatch({ rules, flows }: LastWill): DeathWatch {
  // The program that tells the packet filter runs already: starting it then would take 20 ms, on a busy machine a second.
  const will = `echo '${rules}'; exec conntrack -D ${flows.join(' ')} >/dev/null 2>&1`
  const child = spawn('sh', ['-c', `{ read -r _ && exit; ${will}; } | nft --interactive`], {
    stdio: ['pipe', 'ignore', 'ignore'],
    env: toolEnvironment(),
    detached: true,
  })
  child.on('error', () => {})
  child.stdin.on('error', () => {})
  child.unref()
  return { [Symbol.dispose]: () => void child.stdin.end('\n') }
}
