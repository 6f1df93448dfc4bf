import { statSync, watch as watchFs } from 'node:fs'
import type { FSWatcher } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { codeOf } from '../errors.ts'

export interface WatchOptions {
  /** How long to wait after the first event for the others. Default 50. */
  readonly debounceMs?: number | undefined
  /** How often to look without any event: symbolic links that lead elsewhere tell nobody. Default 30 000. */
  readonly pollMs?: number | undefined
  /** The same where the system refuses to watch (limits of inotify, some network file systems). Default 2000. */
  readonly fallbackPollMs?: number | undefined
  /** Told once when the system refuses. */
  readonly onRefused?: ((directory: string, error: unknown) => void) | undefined
  /** Default `fs.watch`. */
  readonly watch?: typeof watchFs | undefined
}

/**
 * Calls `onChange` soon after something may have changed in one of the directories; too often rather than too seldom.
 * Directories are watched and not files: a mounted file is replaced together with its directory, and a watch of it is
 * dead after the first time. A directory that is not there is waited for. Does not keep the process alive.
 */
export function watchDirectories(
  directories: readonly string[],
  onChange: () => void,
  options: WatchOptions = {},
): Disposable {
  const watch = options.watch ?? watchFs
  const armed = new Map<string, { readonly watcher: FSWatcher; readonly target: string; readonly inode: string }>()
  const wanted = [...new Set(directories.map((directory) => resolve(directory)))]
  let pending: NodeJS.Timeout | undefined
  let isRefused = false
  let isClosed = false

  const soon = (): void => {
    if (isClosed) return
    // Not put off by further events: a directory that is always busy would never be read.
    pending ??= setTimeout(() => {
      pending = undefined
      arm()
      onChange()
    }, options.debounceMs ?? 50).unref()
  }
  const refuse = (directory: string, error: unknown): void => {
    if (isRefused) return
    isRefused = true
    options.onRefused?.(directory, error)
    poll.close()
    poll = startPoll(options.fallbackPollMs ?? 2000)
  }
  const disarm = (directory: string): void => {
    armed.get(directory)?.watcher.close()
    armed.delete(directory)
  }
  const arm = (): void => {
    for (const directory of wanted) {
      const { target, inode } = findTarget(directory)
      const current = armed.get(directory)
      if (current?.target === target && current.inode === inode) continue
      disarm(directory)
      try {
        const watcher = watch(target, { persistent: false }, soon)
        watcher.on('error', (error) => {
          disarm(directory)
          if (codeOf(error) !== 'EPERM') refuse(directory, error)
          soon()
        })
        armed.set(directory, { watcher, target, inode })
        // What happened between the look and the watch.
        if (current !== undefined) soon()
      } catch (error) {
        // It went away in this moment: the next look finds what is there then.
        if (codeOf(error) === 'ENOENT') soon()
        else refuse(directory, error)
      }
    }
  }
  const startPoll = (everyMs: number): NodeJS.Timeout =>
    setInterval(() => {
      arm()
      onChange()
    }, everyMs).unref()

  let poll = startPoll(options.pollMs ?? 30_000)
  arm()
  return {
    [Symbol.dispose]() {
      isClosed = true
      clearTimeout(pending)
      clearInterval(poll)
      for (const directory of armed.keys()) disarm(directory)
    },
  }
}

/** The directory, or the nearest one above it that exists. */
function findTarget(directory: string): { readonly target: string; readonly inode: string } {
  for (let target = directory; ; target = dirname(target)) {
    const stat = statSync(target, { throwIfNoEntry: false, bigint: true })
    if (stat?.isDirectory() || target === dirname(target)) return { target, inode: `${stat?.dev}:${stat?.ino}` }
  }
}
