import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { KubeClient } from '@fairlead/kube'
import type { DaemonSet, DaemonSetSpec } from '@fairlead/kube/types/apps-v1'

import { eventually, node, openWorkbench, runPods } from '../testing/workbench.ts'

function setOf(name: string, change: Partial<DaemonSetSpec> = {}): DaemonSet {
  const labels = { app: name }
  return {
    metadata: { name, namespace: 'default', labels },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'app', image: 'app:1' }] } },
      ...change,
    },
  }
}

/** Runs `use` on two nodes, `a` and `b`, with scheduler and node agents that run everything. */
async function withNodes(use: (client: KubeClient) => Promise<void>): Promise<void> {
  await using bench = await openWorkbench({ scheduler: true })
  const stop = new AbortController()
  for (const name of ['a', 'b']) await addNode(bench.client, name)
  const running = runPods(bench.client, stop.signal)
  try {
    await use(bench.client)
    assert.deepEqual(bench.errors, [])
  } finally {
    stop.abort()
    await running
  }
}

async function addNode(client: KubeClient, name: string): Promise<void> {
  const wanted = { ...node(name), metadata: { name, labels: { on: name } } }
  const nodes = client.resource('v1/Node')
  const { metadata } = await nodes.create(wanted)
  await nodes.updateStatus({ ...wanted, metadata: { ...wanted.metadata, uid: metadata?.uid } })
}

function settled(client: KubeClient, name: string, count: number): Promise<DaemonSet> {
  return eventually(`${name} on ${count} nodes`, async () => {
    const found = await client.resource('apps/v1/DaemonSet').get(name)
    const { status, metadata } = found
    return (
      status?.observedGeneration === metadata?.generation &&
      status?.desiredNumberScheduled === count &&
      status.updatedNumberScheduled === count &&
      status.numberAvailable === count &&
      found
    )
  })
}

async function podsOf(client: KubeClient): Promise<string[]> {
  const { items } = await client.resource('v1/Pod').list()
  const told = items.map(({ spec }) => `${spec?.nodeName} ${spec?.containers[0]?.image}`)
  return told.toSorted((a, b) => a.localeCompare(b))
}

void describe('runDaemonSetController', () => {
  void it('has one pod on each node, also on new ones', async () => {
    await withNodes(async (client) => {
      await client.resource('apps/v1/DaemonSet').create(setOf('log'))
      await settled(client, 'log', 2)
      await addNode(client, 'c')
      await settled(client, 'log', 3)
      assert.deepEqual(await podsOf(client), ['a app:1', 'b app:1', 'c app:1'])
    })
  })

  void it('leaves nodes that its selector stops choosing', async () => {
    await withNodes(async (client) => {
      const sets = client.resource('apps/v1/DaemonSet')
      await sets.create(setOf('log'))
      await settled(client, 'log', 2)
      const body = { spec: { template: { spec: { nodeSelector: { on: 'b' } } } } }
      await sets.patch('log', { type: 'strategic', body })
      await settled(client, 'log', 1)
      await eventually('one pod', async () => (await podsOf(client)).join() === 'b app:1')
    })
  })

  for (const { name, rollingUpdate } of [
    { name: 'rolls out and back, one node after the other', rollingUpdate: { maxUnavailable: 1 } },
    { name: 'rolls out and back with pods to spare', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
  ]) {
    void it(name, async () => {
      await withNodes(async (client) => {
        const sets = client.resource('apps/v1/DaemonSet')
        await sets.create(setOf('log', { updateStrategy: { type: 'RollingUpdate', rollingUpdate } }))
        const first = await settled(client, 'log', 2)
        assert.equal(first.metadata?.annotations?.['deprecated.daemonset.template.generation'], '1')
        const containers = [{ name: 'app', image: 'app:2' }]
        await sets.patch('log', { type: 'strategic', body: { spec: { template: { spec: { containers } } } } })
        await settled(client, 'log', 2)
        await eventually('new pods', async () => (await podsOf(client)).join() === 'a app:2,b app:2')
        const { items } = await client.resource('apps/v1/ControllerRevision').list()
        const former = items.find(({ revision }) => revision === 1)
        // What `kubectl rollout undo` does.
        await sets.patch('log', { type: 'strategic', body: former?.data })
        await settled(client, 'log', 2)
        await eventually('old pods', async () => (await podsOf(client)).join() === 'a app:1,b app:1')
        const { revision } = await client.resource('apps/v1/ControllerRevision').get(former?.metadata?.name ?? '')
        assert.equal(revision, 3)
      })
    })
  }
})
