import type { ContainerUser } from '@fairlead/oci/runtime'
import type { ResourceRequirements } from '@fairlead/kube/types/core-v1'

import type { ContainerPhase, ContainerView, EndedPhase, Ending } from '../decide.ts'
import { fingerprintOf } from '../pod.ts'
import type { PodContainer } from '../pod.ts'
import type { KeptContainer } from '../pod-records.ts'

/** One container of the pod, as its worker keeps it. */
export interface Slot {
  def: PodContainer
  phase: ContainerPhase
  restarts: number
  crashes: number
  /** The next start is a restart. */
  isAgain: boolean
  /** Failed attempts to start in a row. */
  failures: number
  image: string
  imageId?: string | undefined
  id?: string | undefined
  fingerprint: string
  /** Whom the container `id` runs as. */
  user?: ContainerUser | undefined
  /** The resources the container `id` runs with. */
  applied?: ResourceRequirements | undefined
  /** It is being stopped to be replaced, which is no crash. */
  isReplaced?: boolean | undefined
  /** The old one has ended and the next is on its way: nothing is told of that, as with kubelets. */
  isBetween?: boolean | undefined
  last?: Ending | undefined
  /** Settles when the container `id` has ended. */
  ended: PromiseWithResolvers<void>
  probing?: AbortController | undefined
  /** The last container whose end has been taken note of. */
  concluded?: string | undefined
  /** Told when a stop must go faster. */
  hurry?: (() => void) | undefined
}

export function emptySlot(def: PodContainer): Slot {
  return {
    def,
    phase: { phase: 'waiting' },
    restarts: 0,
    crashes: 0,
    isAgain: false,
    failures: 0,
    image: def.container.image ?? '',
    fingerprint: '',
    ended: Promise.withResolvers(),
  }
}

export function viewOf({ def, phase, crashes }: Slot): ContainerView {
  const { container, role, restartPolicy, restartRules } = def
  return { name: container.name, role, restartPolicy, restartRules, state: phase, crashes }
}

/** Whether there is something of it that has not ended. */
export function isUp({ phase }: Slot): boolean {
  return phase.phase === 'starting' || phase.phase === 'running' || phase.phase === 'stopping'
}

/** What the container was last, when it is not up. */
export function endedPhase({ phase }: Slot): EndedPhase | undefined {
  return phase.phase === 'exited' || phase.phase === 'failed' ? phase : undefined
}

/** What is kept of it on disk. */
export function toKept(slot: Slot): KeptContainer {
  const { id, restarts, crashes, image, imageId, fingerprint, applied, user, last, phase } = slot
  const ended = phase.phase === 'starting' ? phase.after : phase
  const ending = ended?.phase === 'exited' ? ended.ending : undefined
  return { id, restarts, crashes, image, imageId, fingerprint, applied, user, last, ending }
}

/** Takes over what the pod says of the container now. */
export function redefine(slot: Slot, wanted: PodContainer, now: number): void {
  const isOther = wanted.container.image !== slot.def.container.image
  slot.def = wanted
  const { phase } = slot
  // What held it up may have been mended: no reason to wait any longer.
  if (isOther && phase.phase === 'failed') slot.phase = { ...phase, retryAt: now }
  if (phase.phase !== 'running' || fingerprintOf(wanted.container) === slot.fingerprint) return
  slot.phase = { ...phase, outdated: 'its definition has changed' }
}
