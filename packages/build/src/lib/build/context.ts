import type { BuildCache } from '../layers/cache.ts'
import type { BuildEvent, BuildImageOptions } from '../options.ts'

/** What one build has in common from its first step to its last. */
export class BuildContext {
  readonly options: BuildImageOptions
  readonly cache: BuildCache
  readonly env: NodeJS.ProcessEnv
  /** Aborts when the caller stops the build, and when one of its parts failed. */
  readonly signal: AbortSignal
  readonly #failed = new AbortController()

  constructor(options: BuildImageOptions, cache: BuildCache) {
    this.options = options
    this.cache = cache
    this.env = options.env ?? process.env
    this.signal = options.signal ? AbortSignal.any([options.signal, this.#failed.signal]) : this.#failed.signal
  }

  /** Reports the beginning and the end of a step, with the time in between. */
  step(step: BuildEvent['step']): {
    start: (message: string) => void
    end: (isCached: boolean, message: string) => void
  } {
    const startedAt = performance.now()
    return {
      start: (message) => this.#emit({ step, state: 'started', message }),
      end: (isCached, message) => {
        const durationMs = Math.round(performance.now() - startedAt)
        this.#emit({ step, state: isCached ? 'cached' : 'done', message, durationMs })
      },
    }
  }

  warn(message: string): void {
    this.#emit({ step: 'warning', state: 'note', message })
  }

  /** All results; when one part fails the others are ended, and have ended, before the failure is passed on. */
  async together<T extends readonly Promise<unknown>[]>(
    parts: readonly [...T],
  ): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
    try {
      return await Promise.all(parts)
    } catch (error) {
      this.#failed.abort(error)
      await Promise.allSettled(parts)
      throw error
    }
  }

  #emit(event: BuildEvent): void {
    this.options.onProgress?.(event)
  }
}
