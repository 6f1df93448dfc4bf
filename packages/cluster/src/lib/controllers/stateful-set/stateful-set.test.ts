import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { KubeClient } from '@fairlead/kube'
import type { StatefulSet, StatefulSetSpec } from '@fairlead/kube/types/apps-v1'

import { eventually, namesOf, openWorkbench, runPods } from '../testing/workbench.ts'

function setOf(name: string, change: Partial<StatefulSetSpec> = {}): StatefulSet {
  const labels = { app: name }
  return {
    metadata: { name, namespace: 'default', labels },
    spec: {
      replicas: 2,
      serviceName: name,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'app', image: 'app:1' }] } },
      ...change,
    },
  }
}

const dataClaim = {
  metadata: { name: 'data' },
  spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
}

/** Runs `use` with a node agent at hand that runs everything. */
async function withPods(use: (client: KubeClient) => Promise<void>): Promise<void> {
  await using bench = await openWorkbench()
  const stop = new AbortController()
  const running = runPods(bench.client, stop.signal)
  try {
    await use(bench.client)
    assert.deepEqual(bench.errors, [])
  } finally {
    stop.abort()
    await running
  }
}

function settled(client: KubeClient, name: string): Promise<StatefulSet> {
  return eventually(`${name} settled`, async () => {
    const found = await client.resource('apps/v1/StatefulSet').get(name)
    const { status, metadata, spec } = found
    return (
      status?.observedGeneration === metadata?.generation &&
      status?.availableReplicas === spec?.replicas &&
      status?.replicas === spec?.replicas &&
      status?.updateRevision === status?.currentRevision &&
      (status?.updatedReplicas ?? 0) === spec?.replicas &&
      found
    )
  })
}

const setImage = (image: string): { type: 'strategic'; body: unknown } => ({
  type: 'strategic',
  body: { spec: { template: { spec: { containers: [{ name: 'app', image }] } } } },
})

void describe('runStatefulSetController', () => {
  void it('gives pods names, host names and claims of their own, and keeps the claims', async () => {
    await withPods(async (client) => {
      const sets = client.resource('apps/v1/StatefulSet')
      await sets.create(setOf('db', { volumeClaimTemplates: [dataClaim] }))
      await settled(client, 'db')
      const pod = await client.resource('v1/Pod').get('db-1')
      assert.equal(pod.spec?.hostname, 'db-1')
      assert.equal(pod.spec?.subdomain, 'db')
      assert.equal(pod.metadata?.labels?.['apps.kubernetes.io/pod-index'], '1')
      assert.equal(pod.metadata?.labels?.['statefulset.kubernetes.io/pod-name'], 'db-1')
      const volume = pod.spec?.volumes?.find(({ name }) => name === 'data')
      assert.equal(volume?.persistentVolumeClaim?.claimName, 'data-db-1')
      await sets.scale('db', 1)
      await settled(client, 'db')
      assert.deepEqual(await namesOf(client.resource('v1/Pod'), 'default'), ['db-0'])
      const claims = await namesOf(client.resource('v1/PersistentVolumeClaim'), 'default')
      assert.deepEqual(claims, ['data-db-0', 'data-db-1'])
    })
  })

  void it('deletes claims with the pods that go, when it is told to', async () => {
    await withPods(async (client) => {
      const sets = client.resource('apps/v1/StatefulSet')
      const persistentVolumeClaimRetentionPolicy = { whenDeleted: 'Retain', whenScaled: 'Delete' }
      const options = { volumeClaimTemplates: [dataClaim], persistentVolumeClaimRetentionPolicy }
      await sets.create(setOf('db', options))
      await settled(client, 'db')
      await sets.scale('db', 1)
      const claims = client.resource('v1/PersistentVolumeClaim')
      await eventually('one claim', async () => (await namesOf(claims, 'default')).length === 1)
      await sets.scale('db', 2)
      await settled(client, 'db')
      assert.equal((await namesOf(claims, 'default')).length, 2)
    })
  })

  void it('rolls a template out and back by its revisions, and forgets the oldest', async () => {
    await withPods(async (client) => {
      const sets = client.resource('apps/v1/StatefulSet')
      const revisions = client.resource('apps/v1/ControllerRevision')
      await sets.create(setOf('db', { revisionHistoryLimit: 1 }))
      const first = await settled(client, 'db')
      for (const image of ['app:2', 'app:3']) {
        await sets.patch('db', setImage(image))
        await settled(client, 'db')
      }
      await eventually('two revisions', async () => (await namesOf(revisions, 'default')).length === 2)
      const numbers = (await revisions.list()).items.map(({ revision }) => revision)
      assert.deepEqual(
        numbers.toSorted((a, b) => a - b),
        [2, 3],
      )
      // What `kubectl rollout undo` does: the patch a revision holds, sent as it is.
      const former = (await revisions.list()).items.find(({ revision }) => revision === 2)
      await sets.patch('db', { type: 'strategic', body: former?.data })
      const back = await settled(client, 'db')
      assert.equal(back.status?.currentRevision, former?.metadata?.name)
      assert.notEqual(back.status?.currentRevision, first.status?.currentRevision)
      assert.equal((await revisions.get(former?.metadata?.name ?? '')).revision, 4)
      const images = (await client.resource('v1/Pod').list()).items.map(({ spec }) => spec?.containers[0]?.image)
      assert.deepEqual(images, ['app:2', 'app:2'])
    })
  })

  void it('replaces a pod that failed under the same name', async () => {
    await withPods(async (client) => {
      await client.resource('apps/v1/StatefulSet').create(setOf('db', { replicas: 1 }))
      await settled(client, 'db')
      const pods = client.resource('v1/Pod')
      const { metadata } = await pods.get('db-0')
      await pods.patch('db-0', { type: 'merge', body: { status: { phase: 'Failed' } } }, { subresource: 'status' })
      await eventually('another pod', async () => {
        const { items } = await pods.list()
        return items.some((pod) => pod.metadata?.uid !== metadata?.uid && pod.status?.phase === 'Running')
      })
      await settled(client, 'db')
    })
  })
})
