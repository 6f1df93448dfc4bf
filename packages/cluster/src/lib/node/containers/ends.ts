import type { ContainerRuntime } from '@fairlead/oci/runtime'

import { LONG_RUN_MS, crashBackoffMs, restartAt } from '../decide.ts'
import type { Ending } from '../decide.ts'
import { uidOf } from '../pod.ts'
import type { PodLife } from '../pod-life.ts'
import { readTerminationMessage } from '../termination-message.ts'
import { viewOf } from './slot.ts'
import type { Slot } from './slot.ts'

/** What the runtime says of a container; undefined where it knows none. */
export type RuntimeState = Awaited<ReturnType<ContainerRuntime['state']>>

/** Finds out that containers of a pod have ended, takes note of how, and clears them away. */
export class ContainerEnds {
  readonly #life: PodLife
  readonly #deleting = new Set<Promise<void>>()

  constructor(life: PodLife) {
    this.#life = life
  }

  /** Resolves when those that have ended are cleared away. */
  cleared(): Promise<unknown> {
    return Promise.all(this.#deleting)
  }

  /** Looks at a container that may have ended. */
  async look(slot: Slot, id: string): Promise<void> {
    const isUp = slot.phase.phase === 'running' || slot.phase.phase === 'stopping'
    if (slot.id !== id || !isUp) return
    const state = await this.#life.context.runtime.state(id)
    if (slot.id !== id) return
    if (state?.status !== 'running' && state?.status !== 'created') await this.conclude(slot, id, state)
    else if (state.isUnsupervised && slot.phase.phase === 'running') {
      slot.phase = { ...slot.phase, outdated: 'its monitor is gone' }
    }
  }

  /** Takes note of a container's end and removes it; its log stays. */
  async conclude(slot: Slot, id: string, state: RuntimeState): Promise<void> {
    // Two may notice the same end; it counts once.
    if (slot.concluded === id) return
    slot.concluded = id
    const ending = await this.#endingOf(slot, id, state)
    slot.probing?.abort()
    slot.phase = { phase: 'exited', ending }
    const startsAgain = this.#startsAgain(slot)
    slot.isBetween = slot.isReplaced === true && startsAgain
    if (slot.isReplaced) slot.crashes = 1
    else if (!this.#life.isLeaving) slot.crashes = isLong(ending) ? 1 : slot.crashes + 1
    slot.isReplaced = false
    slot.ended.resolve()
    this.#life.save()
    this.#tellBackoff(slot)
    await this.#delete(id)
  }

  async #endingOf(slot: Slot, id: string, state: RuntimeState): Promise<Ending> {
    const { context, files, startTime, isLeaving } = this.#life
    const { container, restartPolicy, role } = slot.def
    const startedAt = 'startedAt' in slot.phase ? slot.phase.startedAt : (state?.startedAt ?? startTime)
    const finishedAt = state?.finishedAt ?? context.clock.now()
    // Nobody may take what the node ended for something that was done.
    const wasToldToGo = isLeaving && restartPolicy !== 'Always' && role === 'main'
    const exitCode = wasToldToGo && state?.exitCode === 0 ? 143 : (state?.exitCode ?? 137)
    const logPath = files.logPath(container.name, slot.restarts)
    const terminationLog = files.terminationLog(container.name)
    const told = await readTerminationMessage(container, terminationLog, logPath, exitCode).catch(() => undefined)
    if (state === undefined) {
      const isLast = isLeaving || this.#life.isDeleted || restartPolicy === 'Never'
      const message = told ?? (isLast ? lost.terminated : lost.restarted)
      return { id, exitCode, reason: lost.reason, message, startedAt, finishedAt }
    }
    const reason = state.oomKilled ? 'OOMKilled' : exitCode === 0 ? 'Completed' : 'Error'
    return { id, exitCode, reason, message: told, startedAt, finishedAt }
  }

  #startsAgain(slot: Slot): boolean {
    return restartAt(viewOf(slot)) !== undefined && !this.#life.isDeleted && !this.#life.isLeaving
  }

  #tellBackoff(slot: Slot): void {
    if (crashBackoffMs(slot.crashes) === 0 || !this.#startsAgain(slot)) return
    const { pod } = this.#life
    const { name, namespace } = pod.metadata ?? {}
    const { container } = slot.def
    const subject = `container ${container.name} in pod ${name}_${namespace}(${uidOf(pod)})`
    this.#life.event('Warning', 'BackOff', `Back-off restarting failed ${subject}`, container)
  }

  async #delete(id: string): Promise<void> {
    const { runtime, turns, clearing, onError } = this.#life.context
    const deleting = turns.run('clear', () => runtime.delete(id)).then(() => clearing.progress(), onError)
    this.#deleting.add(deleting)
    this.#life.tick()
    await deleting
    this.#deleting.delete(deleting)
  }
}

/** As kubelets tell of containers that the runtime knows nothing of. */
const lost = {
  reason: 'ContainerStatusUnknown',
  terminated: 'The container could not be located when the pod was terminated',
  restarted: 'The container could not be located when the pod was deleted.  The container used to be Running',
} as const

function isLong({ startedAt, finishedAt }: Ending): boolean {
  return finishedAt - startedAt >= LONG_RUN_MS
}
