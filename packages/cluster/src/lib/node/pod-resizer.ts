import type { Slot } from './containers/slot.ts'
import type { PodLife } from './pod-life.ts'
import type { PodResources, ResizableContainer } from './pod-resources.ts'

/** A resize that failed is tried again after so long. */
const RETRY_MS = 5000

/** Gives the containers of a pod that runs what it may use now. */
export class PodResizer {
  readonly #life: PodLife
  readonly #resources: PodResources
  readonly #isReady: () => boolean
  #resizing: Promise<void> = Promise.resolve()
  #underWay = 0
  #cancelRetry: (() => void) | undefined

  /** `isReady` tells whether the pod has control groups. */
  constructor(life: PodLife, resources: PodResources, isReady: () => boolean) {
    this.#life = life
    this.#resources = resources
    this.#isReady = isReady
  }

  /** Finds out what the pod may use now, and gives it to its containers. */
  resize(): void {
    this.#resources.consider(this.#life.pod)
    this.#life.save()
    this.actuate()
  }

  /** Gives the containers what was granted before. */
  actuate(): void {
    this.#cancelRetry?.()
    if (!this.#isReady()) return
    if (this.#underWay === 0 && !this.#resources.isDue(this.#resizables())) return
    this.#underWay += 1
    // One after the other, so that the newest stays.
    this.#resizing = this.#actuateAfter(this.#resizing)
      .catch(this.#life.context.onError)
      .finally(() => (this.#underWay -= 1))
    this.#life.run(this.#resizing)
  }

  #resizables(): ResizableContainer[] {
    return [...this.#life.slots.values()].flatMap((slot) => this.#resizable(slot))
  }

  close(): void {
    this.#cancelRetry?.()
  }

  async #actuateAfter(previous: Promise<void>): Promise<void> {
    await previous
    await this.#resources.actuate(this.#resizables())
    if (this.#resources.progress.inProgress?.error === undefined || this.#life.isDetached) return
    this.#cancelRetry = this.#life.context.clock.schedule(RETRY_MS, () => this.actuate())
  }

  #resizable(slot: Slot): ResizableContainer[] {
    const { phase, applied } = slot
    if (phase.phase !== 'running' || slot.def.role === 'ephemeral' || phase.outdated !== undefined) return []
    const isSame = (): boolean => slot.id === phase.id && slot.phase.phase === 'running'
    return [
      {
        name: slot.def.container.name,
        id: phase.id,
        applied,
        onApplied: (resources) => {
          if (isSame()) slot.applied = resources
          this.#life.save()
        },
        onRestart: (why) => {
          if (slot.phase.phase === 'running' && isSame()) slot.phase = { ...slot.phase, outdated: why }
        },
      },
    ]
  }
}
