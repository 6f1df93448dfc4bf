import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { KubeClient } from '@fairlead/kube'
import { findCondition } from '@fairlead/kube/controller'
import type { Pod, Toleration } from '@fairlead/kube/types/core-v1'

import { asTimePasses, createJumpClock } from '../testing/jump-clock.ts'
import { eventually, namesOf, node, openWorkbench, reportPod } from '../testing/workbench.ts'

function pod(name: string, nodeName: string, tolerations: Toleration[] = []): Pod {
  return {
    metadata: { name, namespace: 'default' },
    spec: { nodeName, tolerations, terminationGracePeriodSeconds: 0, containers: [{ name: 'main', image: 'app:1' }] },
  }
}

async function register(client: KubeClient, name: string): Promise<void> {
  await client.resource('v1/Node').create(node(name))
  const { status } = node(name)
  await client.resource('v1/Node').patch(name, { type: 'merge', body: { status } }, { subresource: 'status' })
}

function renewer(client: KubeClient, name: string, now: () => number): () => Promise<void> {
  const leases = client.resource('coordination.k8s.io/v1/Lease')
  const namespace = 'kube-node-lease'
  return async () => {
    const renewTime = new Date(now()).toISOString().replace('Z', '000Z')
    const spec = { holderIdentity: name, renewTime }
    const patch = { type: 'merge', body: { spec } } as const
    const known = await namesOf(leases, namespace)
    await (known.includes(name)
      ? leases.patch(name, patch, { namespace })
      : leases.create({ metadata: { name, namespace }, spec }))
  }
}

void describe('the life of nodes', () => {
  void it('evicts pods from a node that falls silent, in their time, and takes it back when it speaks again', async () => {
    const clock = createJumpClock()
    await using bench = await openWorkbench({ clock })
    const { client } = bench
    const nodes = client.resource('v1/Node')
    await register(client, 'silent')
    await register(client, 'alive')
    const renew = renewer(client, 'alive', () => clock.now())
    const forever = [{ operator: 'Exists' }]
    const pods = client.resource('v1/Pod')
    for (const one of [pod('patient', 'silent'), pod('eternal', 'silent', forever), pod('elsewhere', 'alive')]) {
      await reportPod(client, await pods.create(one), true)
    }
    const isUnknown = async (): Promise<boolean> => {
      await renew()
      const found = await nodes.get('silent')
      const taints = (found.spec?.taints ?? []).map(({ key, effect }) => `${key}:${effect}`)
      return (
        findCondition(found.status?.conditions, 'Ready')?.status === 'Unknown' &&
        taints.includes('node.kubernetes.io/unreachable:NoExecute') &&
        taints.includes('node.kubernetes.io/unreachable:NoSchedule')
      )
    }
    await eventually('the silent node is unreachable', asTimePasses(clock, isUnknown))
    await eventually('its pods are not ready', async () => {
      return findCondition((await pods.get('eternal')).status?.conditions, 'Ready')?.status === 'False'
    })
    const isEvicted = async (): Promise<boolean> => {
      await renew()
      clock.jump(5000)
      return !(await namesOf(pods, 'default')).includes('patient')
    }
    await eventually('the patient pod goes after five minutes', asTimePasses(clock, isEvicted))
    assert.deepEqual(await namesOf(pods, 'default'), ['elsewhere', 'eternal'])
    assert.equal((await nodes.get('alive')).spec?.taints, undefined)

    const conditions = [
      { type: 'Ready', status: 'True', lastHeartbeatTime: new Date(clock.now()).toISOString().replace(/\.\d+/, '') },
    ]
    await nodes.patch('silent', { type: 'strategic', body: { status: { conditions } } }, { subresource: 'status' })
    await eventually('it has no taints', async () => ((await nodes.get('silent')).spec?.taints ?? []).length === 0)
    assert.deepEqual(bench.errors, [])
  })

  void it('deletes the pods of a node that is gone', async () => {
    const clock = createJumpClock()
    await using bench = await openWorkbench({ clock })
    const { client } = bench
    const pods = client.resource('v1/Pod')
    await register(client, 'old')
    await pods.create(pod('left', 'old'))
    await client.resource('v1/Node').delete('old')
    const startedAt = clock.now()
    const isGone = async (): Promise<boolean> => (await namesOf(pods, 'default')).length === 0
    await eventually('the pod is gone', asTimePasses(clock, isGone))
    assert.ok(clock.now() - startedAt >= 40_000, 'it is given time to come back')
    assert.deepEqual(bench.errors, [])
  })

  void it('tells nodes how long they may use what they have read', async () => {
    await using bench = await openWorkbench()
    await register(bench.client, 'n1')
    await eventually('the annotation', async () => {
      const { metadata } = await bench.client.resource('v1/Node').get('n1')
      return metadata?.annotations?.['node.alpha.kubernetes.io/ttl'] === '0'
    })
  })
})
