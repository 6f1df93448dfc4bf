import { isConflict, isNotFound, readBytes } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import { findCondition, keyOf, setCondition } from '@fairlead/kube/controller'
import type { Clock, EventRecorder } from '@fairlead/kube/controller'
import type { Pod, PodCondition } from '@fairlead/kube/types/core-v1'

/** What the scheduler writes of pods. What is gone meanwhile is no failure. */
export interface PodWriter {
  /** Puts the pod on a node. False: it is gone, going or on another node already. */
  bind(pod: Pod, nodeName: string): Promise<boolean>
  /** Says why no node takes the pod, and where room is being made for it (empty: nowhere). */
  reject(pod: Pod, message: string, nominated: string): Promise<void>
  /** Room on a node is meant for the pod no longer. */
  clearNomination(pod: Pod): Promise<void>
  /** Makes a pod leave its node for another pod, with the grace it asks for. */
  evict(victim: Pod, preemptor: Pod, nodeName: string): Promise<void>
}

export interface PodWriterOptions {
  readonly client: KubeClient
  readonly recorder: EventRecorder
  /** Of the scheduler. */
  readonly name: string
  readonly clock: Clock
  readonly signal: AbortSignal
}

export function createPodWriter({ client, recorder, name: scheduler, clock, signal }: PodWriterOptions): PodWriter {
  const pods = client.resource('v1/Pod')

  async function patchStatus(pod: Pod, status: object): Promise<void> {
    const { name = '', namespace, uid } = pod.metadata ?? {}
    const body = { metadata: { uid }, status }
    await unlessGone(pods.patch(name, { type: 'strategic', body }, { namespace, subresource: 'status', signal }))
  }

  return {
    async bind(pod, nodeName) {
      const { name = '', namespace = '', uid } = pod.metadata ?? {}
      const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}/binding`
      const target = { apiVersion: 'v1', kind: 'Node', name: nodeName }
      const body = JSON.stringify({ apiVersion: 'v1', kind: 'Binding', metadata: { name, namespace, uid }, target })
      const headers = { accept: 'application/json', 'content-type': 'application/json' }
      try {
        const response = await client.request({ method: 'POST', path, headers, body, signal })
        await readBytes(response.body)
      } catch (error) {
        if (isNotFound(error) || isConflict(error)) return false
        throw error
      }
      const message = `Successfully assigned ${keyOf(pod)} to ${nodeName}`
      recorder.record(pod, { type: 'Normal', reason: 'Scheduled', message })
      return true
    },

    async reject(pod, message, nominated) {
      recorder.record(pod, { type: 'Warning', reason: 'FailedScheduling', message })
      const current = findCondition(pod.status?.conditions, 'PodScheduled')
      const isKnown = current?.status === 'False' && current.message === message
      const isElsewhere = (pod.status?.nominatedNodeName ?? '') !== nominated
      if (isKnown && !isElsewhere) return
      const told: PodCondition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message }
      const conditions = current === undefined ? [] : [current]
      await patchStatus(pod, {
        conditions: [...setCondition<PodCondition>(conditions, told, clock.now())],
        ...(isElsewhere && { nominatedNodeName: nominated === '' ? null : nominated }),
      })
    },

    clearNomination: (pod) => patchStatus(pod, { nominatedNodeName: null }),

    async evict(victim, preemptor, nodeName) {
      const { name = '', namespace, uid, deletionTimestamp } = victim.metadata ?? {}
      // Whoever is going already need not be told twice.
      if (deletionTimestamp !== undefined) return
      const told: PodCondition = {
        type: 'DisruptionTarget',
        status: 'True',
        reason: 'PreemptionByScheduler',
        message: `${scheduler}: preempting to accommodate a higher priority pod`,
      }
      await patchStatus(victim, { conditions: [...setCondition<PodCondition>([], told, clock.now())] })
      await unlessGone(pods.delete(name, { namespace, uid, signal }))
      const message = `Preempted by pod ${preemptor.metadata?.uid} on node ${nodeName}`
      recorder.record(victim, { type: 'Normal', reason: 'Preempted', message })
    },
  }
}

async function unlessGone(writing: Promise<unknown>): Promise<void> {
  try {
    await writing
  } catch (error) {
    // A conflict is one of uids: another pod has the name now.
    if (!isNotFound(error) && !isConflict(error)) throw error
  }
}
