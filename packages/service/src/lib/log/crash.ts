import type { Logger } from './logger.ts'

/**
 * Writes the `fatal` line of an error that nobody caught, flushes, and ends the process with exit code 1. For programs that do not
 * use `run()`, which does the same. Returns what undoes it.
 */
export function logCrashes(log: Logger): () => void {
  const onError = (error: unknown): void => {
    try {
      log.fatal('an error escaped, the state of the process is unknown', { err: error })
    } finally {
      process.exit(1)
    }
  }
  process.on('uncaughtException', onError)
  process.on('unhandledRejection', onError)
  return () => {
    process.off('uncaughtException', onError)
    process.off('unhandledRejection', onError)
  }
}
