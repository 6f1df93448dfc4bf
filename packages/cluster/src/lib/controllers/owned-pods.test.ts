import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { systemClock } from '@fairlead/kube/controller'
import type { ReplicaSet } from '@fairlead/kube/types/apps-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { startTestServer } from '../apiserver/test-server.ts'
import { createContext } from './context.ts'
import { createOwnedPods } from './owned-pods.ts'
import type { OwnedPods } from './owned-pods.ts'
import { controllerReference } from './ownership.ts'

const template = { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'main', image: 'app:1' }] } }
const key = 'default/web'

/** A pod of the label `app: web`, made by `owner` or by nobody. */
function podOf(name: string, owner?: ReplicaSet): Pod {
  const ownerReferences = owner === undefined ? [] : [controllerReference(owner)]
  return { metadata: { ...template.metadata, name, ownerReferences }, spec: template.spec }
}

interface Bench {
  readonly owned: OwnedPods<ReplicaSet>
  readonly web: ReplicaSet
  readonly create: (pod: Pod) => Promise<Pod>
}

/** One replica set, pods of which `mayOwn` those whose names begin with it, and caches that have not been filled yet. */
async function withBench(use: (bench: Bench, startCaches: () => Promise<void>) => Promise<void>): Promise<void> {
  await using api = await startTestServer()
  const stop = new AbortController()
  const { client } = api
  const context = createContext({ client, clock: systemClock, signal: stop.signal, onError: () => {} })
  const objects = client.resource('apps/v1/ReplicaSet')
  const spec = { replicas: 1, selector: { matchLabels: { app: 'web' } }, template }
  const web = await objects.create({ metadata: { name: 'web', namespace: 'default' }, spec })
  const owned = createOwnedPods(context, {
    kind: 'ReplicaSet',
    informer: context.informers.replicaSets,
    objects,
    selectorOf: (replicaSet) => replicaSet.spec?.selector,
    mayOwn: (_, pod) => pod.metadata?.name?.startsWith('web-') === true,
  })
  const create = (pod: Pod): Promise<Pod> => client.resource('v1/Pod').create(pod)
  const startCaches = async (): Promise<void> => {
    await Promise.all([context.informers.pods.start(), context.informers.replicaSets.start()])
  }
  await use({ owned, web, create }, startCaches).finally(() => stop.abort())
}

describe('createOwnedPods', () => {
  it('adopts orphans that the owner selects and may own, and no others', () =>
    withBench(async ({ owned, web, create }, startCaches) => {
      await create(podOf('web-mine', web))
      await create(podOf('web-orphan'))
      await create(podOf('other'))
      await startCaches()
      const names = (await owned.claim(web)).map(({ metadata }) => metadata?.name)
      assert.deepEqual(new Set(names), new Set(['web-mine', 'web-orphan']))
    }))

  it('waits for a pod it made until the cache has shown it', () =>
    withBench(async ({ owned, web }) => {
      const pod = await owned.create(key, podOf('web-1', web))
      assert.ok(owned.waitMs(key))
      assert.deepEqual(owned.keysOfPod(pod, 'add'), [key])
      assert.equal(owned.waitMs(key), undefined)
    }))

  it('waits for a pod it deleted until it is being deleted; an update of something else does not count', () =>
    withBench(async ({ owned, web, create }) => {
      const pod = await create(podOf('web-1', web))
      await owned.delete(key, pod)
      owned.keysOfPod(pod, 'update', pod)
      assert.ok(owned.waitMs(key))
      owned.keysOfPod(
        { ...pod, metadata: { ...pod.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } },
        'update',
        pod,
      )
      assert.equal(owned.waitMs(key), undefined)
    }))

  it('does not wait for a pod whose deletion was refused', () =>
    withBench(async ({ owned, web }) => {
      const refusal = new Error('refused')
      await assert.rejects(
        owned.expectGone(key, podOf('web-1', web), () => Promise.reject(refusal)),
        refusal,
      )
      assert.equal(owned.waitMs(key), undefined)
    }))

  it('names the controllers before and after a change, and for an orphan all who may adopt it', () =>
    withBench(async ({ owned, web }, startCaches) => {
      await startCaches()
      const orphan = { ...podOf('web-1'), metadata: { ...podOf('web-1').metadata, namespace: 'default' } }
      const mine = { ...orphan, metadata: { ...orphan.metadata, ownerReferences: [controllerReference(web)] } }
      const theirs = controllerReference({ ...web, kind: 'Job' })
      const letGo = { ...orphan, metadata: { ...orphan.metadata, labels: {} } }
      assert.deepEqual(owned.keysOfPod(letGo, 'update', mine), [key])
      assert.deepEqual(owned.keysOfPod(orphan, 'add'), [key])
      assert.deepEqual(
        owned.keysOfPod({ ...orphan, metadata: { ...orphan.metadata, ownerReferences: [theirs] } }, 'add'),
        [],
      )
      assert.deepEqual(owned.keysOfPod({ ...orphan, metadata: { ...orphan.metadata, name: 'other' } }, 'add'), [])
    }))
})
