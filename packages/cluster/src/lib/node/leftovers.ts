import { join } from 'node:path'

import type { NodeContext } from './node-context.ts'
import type { KeptPod } from './pod-records.ts'
import { unmountVolumes } from './volumes.ts'

export interface LeftoverOwners {
  /** Pods an earlier agent left that are no more. */
  readonly kept: readonly KeptPod[]
  /** Whether there is a pod with that uid. */
  readonly isOwned: (uid: string) => boolean
  /** Whether a pod has the container, or is making it. */
  readonly hasContainer: (id: string) => boolean
  /** Whether a pod has its logs there. */
  readonly hasLogs: (dir: string) => boolean
}

/** A node that has no pods any more. */
export interface RestOwner extends Pick<NodeContext, 'clock' | 'onError'> {
  readonly runtime: Pick<NodeContext['runtime'], 'list' | 'delete'>
}

/**
 * Removes what belongs to no pod: containers, namespaces, volumes, control groups, folders, logs, places on the network. Of a
 * container that has ended nothing stays but its log, and of earlier runs only the log before: there are no dead ones to
 * be counted.
 */
export async function sweepLeftovers(context: NodeContext, owners: LeftoverOwners): Promise<void> {
  const { runtime, network, records } = context
  for (const id of await runtime.list()) if (!owners.hasContainer(id)) await runtime.delete(id)
  for (const pod of owners.kept) await sweepPod(pod, context)
  for (const { uid } of network.attached()) if (!owners.isOwned(uid)) await network.detach(uid)
  await records.sweepLogs(owners.hasLogs)
  await context.memoryVolumes?.sweep(owners.isOwned)
}

/** What is in a container's way to be removed ends with the work of others, if ever. */
const RETRY_MS = 1000
const MOST_ROUNDS = 5

/**
 * Removes the containers that are left when all pods have gone: with many at once, or one still being made when its time was
 * over, some could not be. One after the other now, and a few times.
 */
export async function removeRest({ runtime, clock, onError }: RestOwner): Promise<void> {
  for (let round = 1; ; round += 1) {
    const errors: unknown[] = []
    for (const id of await runtime.list()) await runtime.delete(id).catch((error: unknown) => errors.push(error))
    if (errors.length === 0) return
    if (round === MOST_ROUNDS) return errors.forEach(onError)
    await new Promise<void>((resolve) => void clock.schedule(RETRY_MS, resolve))
  }
}

async function sweepPod(pod: KeptPod, { runtime, records, cgroupParent }: NodeContext): Promise<void> {
  await runtime.closeNamespaces(join(records.dirOf(pod.uid), 'namespaces'))
  await unmountVolumes(join(records.dirOf(pod.uid), 'volumes'))
  for (const parent of ['', '/burstable', '/besteffort'])
    await runtime.removeCgroup(`${cgroupParent}${parent}/pod${pod.uid}`)
  await records.remove(pod)
}
