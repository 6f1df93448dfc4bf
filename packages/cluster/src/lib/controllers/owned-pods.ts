import type { KubeResource, ResourceClient } from '@fairlead/kube'
import type { Informer } from '@fairlead/kube/cache'
import { keyOf } from '@fairlead/kube/controller'
import type { LabelSelector } from '@fairlead/kube/types'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { matchesSelector } from '../label-selector.ts'
import { byController } from './context.ts'
import type { ControllerContext } from './context.ts'
import { createExpectations } from './expectations.ts'
import { claimObjects, controllerOf, decideClaim, keysOfController, orphansOf } from './ownership.ts'
import { ignoreNotFound } from './write.ts'

/** A kind whose objects own pods: ReplicaSet, Job and the like. */
export interface PodOwnerKind<T extends KubeResource> {
  readonly kind: string
  readonly informer: Informer<T>
  readonly objects: ResourceClient<T>
  readonly selectorOf: (owner: T) => LabelSelector | undefined
  /** Whether `owner` may have a pod that its selector matches. Default: any pod. */
  readonly mayOwn?: (owner: T, pod: Pod) => boolean
  /** Finalizer that adopted pods get and released ones lose. Default: none. */
  readonly finalizer?: string | undefined
}

/**
 * The pods that the owners of one kind make and delete. What was written and has not come back through the watch is
 * remembered by the owner's `key` (namespace/name): until it has, a count of the cached pods is wrong.
 */
export interface OwnedPods<T extends KubeResource> {
  /** The owner's pods. Orphans it selects are adopted first, pods it selects no longer are released. */
  claim(owner: T): Promise<Pod[]>
  create(key: string, pod: Pod): Promise<Pod>
  /** Deletes that very pod (by uid); one that is gone already is passed over. */
  delete(key: string, pod: Pod): Promise<void>
  /** Runs `remove`, by which `pod` goes. While it has not gone, `waitMs` tells so; when `remove` fails, no longer. */
  expectGone(key: string, pod: Pod, remove: () => Promise<unknown>): Promise<void>
  /** How long to wait at most for the cache to show what was written; undefined when it is up to date. */
  waitMs(key: string): number | undefined
  /** Drops what is remembered of an owner that is gone. */
  forget(key: string): void
  /** Keys of the owners a change of a pod concerns: its controller, before and after, or all who may adopt an orphan. */
  readonly keysOfPod: (pod: Pod, event: 'add' | 'update' | 'delete', old?: Pod) => string[]
}

export function createOwnedPods<T extends KubeResource>(
  { client, informers, clock }: ControllerContext,
  { kind, informer, objects, selectorOf, mayOwn = () => true, finalizer }: PodOwnerKind<T>,
): OwnedPods<T> {
  const pods = client.resource('v1/Pod')
  const expectations = createExpectations(clock)

  function keysOfOrphan(pod: Pod): string[] {
    return informer
      .list(pod.metadata?.namespace)
      .filter((owner) => mayOwn(owner, pod) && matchesSelector(selectorOf(owner), pod.metadata?.labels))
      .map(keyOf)
  }

  async function expectGone(key: string, { metadata }: Pod, remove: () => Promise<unknown>): Promise<void> {
    const uid = metadata?.uid ?? ''
    expectations.expect(key, uid)
    try {
      await remove()
    } catch (error) {
      expectations.observe(key, uid)
      throw error
    }
  }

  return {
    async claim(owner) {
      const { uid = '', namespace } = owner.metadata ?? {}
      const candidates = [uid, orphansOf(namespace)]
        .flatMap((controller) => informers.pods.byIndex(byController, controller))
        .filter((pod) => mayOwn(owner, pod))
      const claim = decideClaim(owner, selectorOf(owner) ?? {}, candidates)
      return claimObjects({ objects: pods, owners: objects }, owner, claim, { finalizer })
    },
    async create(key, wanted) {
      const pod = await pods.create(wanted)
      const { uid = '', name = '', namespace } = pod.metadata ?? {}
      // The watch may have been faster than the answer.
      if (informers.pods.get(namespace, name)?.metadata?.uid !== uid) expectations.expect(key, uid)
      return pod
    },
    delete(key, pod) {
      const { name = '', namespace, uid } = pod.metadata ?? {}
      return expectGone(key, pod, () => ignoreNotFound(pods.delete(name, { namespace, uid })))
    },
    expectGone,
    waitMs: (key) => expectations.leftMs(key),
    forget: (key) => expectations.forget(key),
    keysOfPod(pod, event, old) {
      const keys = [...keysOfController(pod, kind), ...keysOfController(old, kind)]
      for (const key of keys) {
        if (event !== 'update' || pod.metadata?.deletionTimestamp !== undefined) {
          expectations.observe(key, pod.metadata?.uid ?? '')
        }
      }
      return keys.length > 0 || controllerOf(pod) !== undefined ? keys : keysOfOrphan(pod)
    },
  }
}
