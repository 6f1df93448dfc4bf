import type { ContainerEnds, RuntimeState } from './containers/ends.ts'
import type { ContainerProbes } from './containers/probes.ts'
import { redefine } from './containers/slot.ts'
import type { Slot } from './containers/slot.ts'
import type { Ending } from './decide.ts'
import { containersOf, knownStatus } from './pod.ts'
import type { PodLife } from './pod-life.ts'
import type { KeptContainer, KeptPod } from './pod-records.ts'
import type { PodSandbox } from './pod-sandbox.ts'
import type { Allocation } from './resize.ts'

/** Who is there of a pod when it is taken over. */
export interface Adopters {
  readonly sandbox: PodSandbox
  readonly ends: ContainerEnds
  readonly probes: ContainerProbes
  /** What the pod was granted. */
  readonly allocation: Allocation
}

/** Takes over what an earlier process left of a pod: containers that run go on, ends nobody saw are taken note of. */
export async function adoptPod(kept: KeptPod, life: PodLife, adopters: Adopters): Promise<void> {
  const { sandbox, ends, probes, allocation } = adopters
  const isFinished = kept.finished !== undefined
  const states = await readStates(kept, life)
  // With nothing left running the sandbox is made anew, and what init containers prepared with it.
  const survives = [...states.values()].some((state) => state?.status === 'running')
  for (const [name, one] of Object.entries(kept.containers)) {
    const slot = life.slots.get(name)
    if (!slot) continue
    adoptFacts(slot, one, allocation)
    const ending = endingOf(one)
    if (ending) {
      const isAgain = slot.def.role === 'init' && !survives && !isFinished
      slot.phase = isAgain ? { phase: 'waiting' } : { phase: 'exited', ending }
    } else if (one.id) {
      const state = states.get(name)
      if (state?.status === 'running') adoptRunning(slot, one.id, state, life)
      else await ends.conclude(slot, one.id, state)
    }
  }
  if (survives) await adoptSandbox(life, sandbox, probes)
  else if (Object.keys(kept.containers).length > 0) sandbox.adoptRest()
}

async function readStates(kept: KeptPod, { context }: PodLife): Promise<Map<string, RuntimeState>> {
  const states = new Map<string, RuntimeState>()
  for (const [name, one] of Object.entries(kept.containers)) {
    if (one.id && !endingOf(one)) states.set(name, await context.runtime.state(one.id))
  }
  return states
}

/** How the container ended; of one that could not be started again since then it is known as that of the run before. */
function endingOf({ id, ending, last }: KeptContainer): Ending | undefined {
  return ending ?? (last?.id === id ? last : undefined)
}

function adoptFacts(slot: Slot, one: KeptContainer, allocation: Allocation): void {
  const { restarts, crashes, imageId, id, fingerprint, user, last } = one
  const applied = one.applied ?? allocation.containers[slot.def.container.name]
  Object.assign(slot, { restarts, crashes, imageId, id, fingerprint, applied, user, last })
}

function adoptRunning(slot: Slot, id: string, state: NonNullable<RuntimeState>, life: PodLife): void {
  const { name } = slot.def.container
  const now = life.context.clock.now()
  const known = knownStatus(life.pod, name)
  const isSame = known?.containerID?.endsWith(id) === true
  const adopted = { ready: isSame && known.ready, started: isSame && known.started === true }
  const outdated = state.isUnsupervised ? { outdated: 'its monitor is gone' } : {}
  slot.phase = { phase: 'running', id, startedAt: state.startedAt ?? now, ...adopted, ...outdated }
  const wanted = containersOf(life.granted).find(({ container }) => container.name === name)
  if (wanted) redefine(slot, wanted, now)
}

async function adoptSandbox(life: PodLife, sandbox: PodSandbox, probes: ContainerProbes): Promise<void> {
  await sandbox.prepare()
  for (const slot of life.slots.values()) {
    const { phase } = slot
    if (phase.phase === 'running') probes.watch(slot, phase.started ? { ready: phase.ready } : undefined)
  }
}
