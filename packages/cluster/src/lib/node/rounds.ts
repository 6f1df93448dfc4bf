import type { Clock } from '@fairlead/kube/controller'

/** Work that is done again and again, each time so long after the last time has ended. */
export class Rounds {
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #cancels = new Set<() => void>()
  #isClosed = false

  constructor(clock: Clock, onError: (error: unknown) => void) {
    this.#clock = clock
    this.#onError = onError
  }

  every(ms: number, work: () => Promise<void>): void {
    if (this.#isClosed) return
    const cancel = this.#clock.schedule(ms, () => {
      this.#cancels.delete(cancel)
      void work()
        .catch(this.#onError)
        .finally(() => this.every(ms, work))
    })
    this.#cancels.add(cancel)
  }

  /** What is under way comes to its end. */
  close(): void {
    this.#isClosed = true
    for (const cancel of this.#cancels) cancel()
    this.#cancels.clear()
  }
}
