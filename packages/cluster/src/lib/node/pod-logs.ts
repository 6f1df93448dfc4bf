import { dirname } from 'node:path'

import { isUp } from './containers/slot.ts'
import type { Slot } from './containers/slot.ts'
import type { PodFiles } from './pod-files.ts'
import type { PodState } from './pod-state.ts'

/** The log files of a container: the present run's, and the one's before. */
export interface ContainerLogs {
  readonly current: string
  readonly previous?: string
  readonly isOpen: () => boolean
}

/** Where the containers of a pod write what they say. */
export class PodLogs {
  readonly #files: PodFiles
  readonly #slots: ReadonlyMap<string, Slot>
  readonly #state: PodState

  constructor(files: PodFiles, slots: ReadonlyMap<string, Slot>, state: PodState) {
    this.#files = files
    this.#slots = slots
    this.#state = state
  }

  of(container: string): ContainerLogs | undefined {
    const slot = this.#slots.get(container)
    if (!slot) return undefined
    const { restarts } = slot
    return {
      current: this.#files.logPath(container, restarts),
      ...(restarts > 0 ? { previous: this.#files.logPath(container, restarts - 1) } : {}),
      isOpen: () => !this.#state.isDetached && isUp(slot),
    }
  }

  /** Whether there is anything to read of a container yet. */
  has(container: string): boolean {
    return this.#slots.get(container)?.id !== undefined
  }

  /** Those that are being written, with the containers that write them. */
  get open(): readonly { readonly id: string; readonly path: string }[] {
    return [...this.#slots].flatMap(([name, { id, phase, restarts }]) =>
      id && phase.phase === 'running' ? [{ id, path: this.#files.logPath(name, restarts) }] : [],
    )
  }

  /** The folder with all logs of a container. */
  dirOf(container: string): string {
    return dirname(this.#files.logPath(container, 0))
  }
}
