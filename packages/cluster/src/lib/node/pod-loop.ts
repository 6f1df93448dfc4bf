import type { Clock } from '@fairlead/kube/controller'

import type { Step } from './decide.ts'

export interface PodLoopParts {
  readonly clock: Clock
  readonly decide: (now: number) => readonly Step[]
  readonly act: (step: Step) => void
  /** When there is nothing to do for now. */
  readonly onQuiet: () => void
}

/** A view may lead to steps that lead to others at once; more rounds than these would be a mistake. */
const MAX_ROUNDS = 10

/** Decides and acts until there is nothing to do now; then waits for the next event or time. */
export class PodLoop {
  readonly #parts: PodLoopParts
  #isTicking = false
  #isClosed = false
  #cancelTimer: (() => void) | undefined

  constructor(parts: PodLoopParts) {
    this.#parts = parts
  }

  tick(): void {
    if (this.#isTicking || this.#isClosed) return
    this.#isTicking = true
    try {
      this.#cancelTimer?.()
      this.#wakeAt(this.#actUntilQuiet())
    } finally {
      this.#isTicking = false
    }
    this.#parts.onQuiet()
  }

  close(): void {
    this.#isClosed = true
    this.#cancelTimer?.()
  }

  /** The time before which there is nothing more to do. */
  #actUntilQuiet(): number {
    const { clock, decide, act } = this.#parts
    for (let round = 1; ; round += 1) {
      const steps = decide(clock.now())
      const acts = steps.filter((step) => step.do !== 'wait')
      for (const step of acts) act(step)
      if (acts.length > 0 && round < MAX_ROUNDS) continue
      return Math.min(Number.POSITIVE_INFINITY, ...steps.flatMap((step) => (step.do === 'wait' ? [step.until] : [])))
    }
  }

  #wakeAt(time: number): void {
    if (time === Number.POSITIVE_INFINITY) return
    const { clock } = this.#parts
    const delay = Math.min(Math.max(0, time - clock.now()), 2 ** 31 - 1)
    this.#cancelTimer = clock.schedule(delay, () => this.tick())
  }
}
