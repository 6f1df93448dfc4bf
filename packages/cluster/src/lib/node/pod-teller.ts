import { toKept } from './containers/slot.ts'
import { createPodKeeper } from './pod-keeper.ts'
import type { PodKeeper } from './pod-keeper.ts'
import type { PodLife } from './pod-life.ts'
import type { PodResources } from './pod-resources.ts'
import type { PodSandbox } from './pod-sandbox.ts'
import { viewOfPod } from './pod-state.ts'
import type { PodState } from './pod-state.ts'
import { renderStatus } from './status.ts'
import type { PodFacts } from './status.ts'
import { createStatusWriter } from './status-writer.ts'
import type { StatusWriter } from './status-writer.ts'

/** Those a pod's status speaks of besides its containers. */
export interface PodTellerParts {
  readonly sandbox: PodSandbox
  readonly resources: PodResources
}

/** Tells the API how a pod is, and writes it down for the process after this one. */
export class PodTeller {
  readonly #life: Pick<PodLife, 'context' | 'slots'>
  readonly #state: PodState
  readonly #parts: PodTellerParts
  readonly #writer: StatusWriter
  readonly #keeper: PodKeeper

  constructor(life: Pick<PodLife, 'context' | 'slots'>, state: PodState, parts: PodTellerParts) {
    const { pods, clock, onError, records } = life.context
    this.#life = life
    this.#state = state
    this.#parts = parts
    this.#writer = createStatusWriter(pods, { clock, onError })
    this.#keeper = createPodKeeper(records, onError)
  }

  /** While the agent leaves, or one container takes the place of another, nothing is told. */
  publish(): void {
    const { deletion, finished, leaving, isDetached } = this.#state
    const isBetween = [...this.#life.slots.values()].some((slot) => slot.isBetween) && !deletion && !finished
    if (!leaving && !isDetached && !isBetween) this.tell()
  }

  tell(): void {
    const state = this.#state
    const { slots, context } = this.#life
    if (state.isForgotten) return
    // Ended before this node knew of it: the status there is knows more than we do.
    if (state.finished && [...slots.values()].every(({ phase }) => phase.phase === 'waiting')) return
    const status = renderStatus(
      viewOfPod(state, slots.values(), this.#parts.sandbox.state),
      this.#facts(),
      context.clock.now(),
    )
    state.conditions = status.conditions
    this.#writer.submit(state.pod, status)
  }

  #facts(): PodFacts {
    const { slots, context } = this.#life
    const { sandbox, resources } = this.#parts
    const { pod, startTime, reason, message, conditions, eviction, finished } = this.#state
    return {
      pod,
      hostIp: context.hostIp,
      podIp: sandbox.attachment?.ip,
      startTime,
      containers: new Map([...slots].map(([name, slot]) => [name, { ...slot, containerId: slot.id }])),
      reason,
      message,
      conditions,
      allocation: resources.allocation,
      resize: finished ? {} : resources.progress,
      disruption: eviction?.isForNode === true ? message : undefined,
      runtime: context.runtime.version.split(':')[0] ?? '',
    }
  }

  save(): void {
    const state = this.#state
    const { uid = '', namespace = '', name = '' } = state.pod.metadata ?? {}
    this.#keeper.keep({
      uid,
      namespace,
      name,
      startTime: state.startTime,
      allocation: this.#parts.resources.allocation,
      containers: Object.fromEntries([...this.#life.slots].map(([key, slot]) => [key, toKept(slot)])),
      finished: state.finished,
      reason: state.reason,
      message: state.message,
    })
  }

  /** Resolves when what was to be saved is on disk. */
  saved(): Promise<void> {
    return this.#keeper.kept()
  }

  /** Resolves when the API has been told of the pod's present state. */
  told(): Promise<void> {
    return this.#writer.flush()
  }

  /** Nothing is told any more. */
  close(): void {
    this.#writer.close()
  }
}
