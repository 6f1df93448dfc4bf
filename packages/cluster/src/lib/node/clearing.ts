import type { Clock } from '@fairlead/kube/controller'

/** With nothing cleared away for so long, nothing will be. */
const STUCK_MS = 10_000
const LOOK_MS = 1000

/**
 * Clearing away what the pods of a node had on the machine. All of them go at once when a node stops, and a machine may have many:
 * slow is told from stuck by whether anything at all was cleared lately.
 */
export class Clearing {
  readonly #clock: Clock
  #lastAt = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Something was cleared. */
  progress(): void {
    this.#lastAt = this.#clock.now()
  }

  /** Waits for `done`, but from `deadline` on only for as long as something is being cleared. */
  async wait(done: Promise<unknown>, deadline: number): Promise<void> {
    const isDone = done.then(() => true)
    for (;;) {
      const look = Promise.withResolvers<boolean>()
      const cancel = this.#clock.schedule(LOOK_MS, () => look.resolve(false))
      const hasEnded = await Promise.race([isDone, look.promise])
      cancel()
      if (hasEnded || this.#isStuck(deadline)) return
    }
  }

  #isStuck(deadline: number): boolean {
    return this.#clock.now() >= Math.max(deadline, this.#lastAt) + STUCK_MS
  }
}
