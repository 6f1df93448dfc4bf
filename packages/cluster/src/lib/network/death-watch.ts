import { spawn } from 'node:child_process'
import { toolEnvironment } from './command.ts'

/** Waits beside this process to act when it ends without a word. */
export interface DeathWatch {
  /** There is nothing to be done any more. */
  [Symbol.dispose](): void
}

/**
 * Has the packet filter told something at the very moment this process is gone, however it went: the end of a pipe is seen by a shell, which is
 * in a session of its own, so that what ends a group of processes does not end it.
 */
export function openDeathWatch(command: string): DeathWatch {
  // The program that tells the packet filter runs already: starting it then would take 20 ms, on a busy machine a second.
  const child = spawn('sh', ['-c', `{ read -r _ || echo '${command}'; } | nft --interactive`], {
    stdio: ['pipe', 'ignore', 'ignore'],
    env: toolEnvironment(),
    detached: true,
  })
  child.on('error', () => {})
  child.stdin.on('error', () => {})
  child.unref()
  return { [Symbol.dispose]: () => void child.stdin.end('\n') }
}
