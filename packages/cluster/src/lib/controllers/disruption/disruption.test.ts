import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { KubeError } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import { renderTime } from '@fairlead/kube/controller'
import type { Pod } from '@fairlead/kube/types/core-v1'
import type { PodDisruptionBudgetSpec } from '@fairlead/kube/types/policy-v1'

import { podCondition } from '../pod-state.ts'
import { asTimePasses, createJumpClock } from '../testing/jump-clock.ts'
import { deployment, eventually, openWorkbench, reportPod } from '../testing/workbench.ts'
import { decideBudget } from './decide-disruption.ts'
import { staleInMs } from './stale-disruption.ts'

const now = Date.parse('2026-01-01T00:10:00Z')

/** `a` ready, `a?` not ready, `a-` being deleted. */
function podOf(text: string): Pod {
  const status = text.endsWith('?') ? 'False' : 'True'
  const deletion = text.endsWith('-') ? { deletionTimestamp: renderTime(now) } : {}
  return { metadata: { name: text, ...deletion }, status: { conditions: [{ type: 'Ready', status }] } }
}

void describe('decideBudget', () => {
  for (const { name, spec, pods, expected = pods.length, allowed, healthy, desired } of [
    { name: 'keeps a number', spec: { minAvailable: 2 }, pods: ['a', 'b', 'c'], allowed: 1, healthy: 3, desired: 2 },
    { name: 'keeps a share', spec: { minAvailable: '50%' }, pods: ['a', 'b', 'c'], allowed: 1, healthy: 3, desired: 2 },
    {
      name: 'lets a number go',
      spec: { maxUnavailable: 1 },
      pods: ['a', 'b', 'c?'],
      allowed: 0,
      healthy: 2,
      desired: 2,
    },
    {
      name: 'lets a share go',
      spec: { maxUnavailable: '34%' },
      pods: ['a', 'b', 'c'],
      allowed: 2,
      healthy: 3,
      desired: 1,
    },
    {
      name: 'counts those that are to come',
      spec: { maxUnavailable: 1 },
      pods: ['a'],
      expected: 3,
      allowed: 0,
      healthy: 1,
      desired: 2,
    },
    {
      name: 'does not count who leaves',
      spec: { minAvailable: 1 },
      pods: ['a', 'b-'],
      allowed: 0,
      healthy: 1,
      desired: 1,
    },
    { name: 'allows nothing of nothing', spec: { minAvailable: 0 }, pods: [], allowed: 0, healthy: 0, desired: 0 },
  ]) {
    void it(name, () => {
      const { status } = decideBudget({ budget: { spec }, pods: pods.map(podOf), expected, now })
      assert.deepEqual(
        [status.disruptionsAllowed, status.currentHealthy, status.desiredHealthy],
        [allowed, healthy, desired],
      )
      assert.equal(status.conditions?.[0]?.reason, allowed > 0 ? 'SufficientPods' : 'InsufficientPods')
    })
  }

  void it('waits two minutes for an eviction to show', () => {
    const disruptedPods = { a: '2026-01-01T00:09:00Z', b: '2026-01-01T00:07:00Z', gone: '2026-01-01T00:09:59Z' }
    const budget = { spec: { minAvailable: 1 }, status: { disruptedPods } }
    const decision = decideBudget({ budget, pods: ['a', 'b', 'c'].map(podOf), expected: 3, now })
    assert.deepEqual(decision.status.disruptedPods, { a: '2026-01-01T00:09:00Z' })
    assert.equal(decision.status.currentHealthy, 2)
    assert.equal(decision.requeueAfterMs, 60_000)
  })

  void it('allows nothing when it cannot count', () => {
    const { status } = decideBudget({ budget: {}, pods: [], expected: new Error('why'), now })
    assert.equal(status.disruptionsAllowed, 0)
    assert.equal(status.conditions?.[0]?.message, 'why')
  })
})

async function evict(client: KubeClient, name: string): Promise<KubeError | undefined> {
  const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace: 'default' } }
  try {
    await client.resource('v1/Pod').createSubresource(name, 'eviction', body)
    return undefined
  } catch (error) {
    if (error instanceof KubeError) return error
    throw error
  }
}

async function readyPods(client: KubeClient, count: number): Promise<Pod[]> {
  const pods = client.resource('v1/Pod')
  const made = await eventually(`${count} pods`, async () => {
    const { items } = await pods.list()
    return items.length === count && items
  })
  for (const pod of made) await reportPod(client, pod, true)
  return made
}

async function budgetOf(client: KubeClient, spec: PodDisruptionBudgetSpec, allowed: number): Promise<void> {
  const budgets = client.resource('policy/v1/PodDisruptionBudget')
  await budgets.create({ metadata: { name: 'web', namespace: 'default' }, spec })
  await eventually('the budget is counted', async () => {
    const { status, metadata } = await budgets.get('web')
    return status?.observedGeneration === metadata?.generation && status?.disruptionsAllowed === allowed
  })
}

void describe('staleInMs', () => {
  const told = (reason: string, change: Partial<Pod> = {}): Pod => ({
    status: {
      conditions: [{ type: 'DisruptionTarget', status: 'True', reason, lastTransitionTime: '2026-01-01T00:00:00Z' }],
    },
    ...change,
  })
  const now = Date.parse('2026-01-01T00:00:30Z')
  for (const { name, pod, expected } of [
    { name: 'two minutes for one that is to be evicted', pod: told('EvictionByEvictionAPI'), expected: 90_000 },
    { name: 'no time for what its node ends', pod: told('TerminationByKubelet'), expected: undefined },
    {
      name: 'no time for one that goes',
      pod: told('x', { metadata: { deletionTimestamp: 'now' } }),
      expected: undefined,
    },
    { name: 'no time for others', pod: {}, expected: undefined },
  ]) {
    void it(name, () => assert.equal(staleInMs(pod, now), expected))
  }
})

void describe('runDisruptionController', () => {
  const selector = { matchLabels: { app: 'web' } }

  void it('lets as many pods be evicted as the budget allows, and tells why no more', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    await client.resource('apps/v1/Deployment').create(deployment('web'))
    const [first, second] = await readyPods(client, 3)
    await budgetOf(client, { maxUnavailable: 1, selector }, 1)
    assert.equal(await evict(client, first?.metadata?.name ?? ''), undefined)
    const refused = await evict(client, second?.metadata?.name ?? '')
    assert.equal(refused?.httpStatus, 429)
    assert.match(refused?.message ?? '', /Cannot evict pod as it would violate the pod's disruption budget\./)
    const [cause] = refused?.status.details?.causes ?? []
    assert.equal(cause?.reason, 'DisruptionBudget')
    assert.match(cause?.message ?? '', /^The disruption budget web needs 2 healthy pods and has \d currently$/)
    // The pod that replaces the one evicted gives the next one free.
    await readyPods(client, 3)
    await eventually('the second goes', async () => (await evict(client, second?.metadata?.name ?? '')) === undefined)
    assert.deepEqual(bench.errors, [])
  })

  void it('lets a pod go that is not ready, when told to', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    await client.resource('apps/v1/Deployment').create(deployment('web', { replicas: 1 }))
    const [pod] = await readyPods(client, 1)
    assert.ok(pod)
    await reportPod(client, pod, false)
    await budgetOf(client, { minAvailable: 1, selector }, 0)
    assert.equal((await evict(client, pod.metadata?.name ?? ''))?.httpStatus, 429)
    const body = { spec: { unhealthyPodEvictionPolicy: 'AlwaysAllow' } }
    await client.resource('policy/v1/PodDisruptionBudget').patch('web', { type: 'merge', body })
    assert.equal(await evict(client, pod.metadata?.name ?? ''), undefined)
  })

  void it('says so when pods are replicas of nobody', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const spec = { nodeName: 'n', containers: [{ name: 'app', image: 'app:1' }] }
    await client
      .resource('v1/Pod')
      .create({ metadata: { name: 'alone', namespace: 'default', labels: { app: 'web' } }, spec })
    await budgetOf(client, { maxUnavailable: 1, selector }, 0)
    const told = await eventually('it is told', async () => {
      const { items } = await client.resource('v1/Event').list({ namespace: 'default' })
      return items.find(({ reason }) => reason === 'UnmanagedPods')
    })
    assert.match(told.message ?? '', /^Pods selected by this PodDisruptionBudget .* were found to be unmanaged\./)
  })

  void it('takes back from a pod that it will be disrupted, when nobody has done so in two minutes', async () => {
    const clock = createJumpClock()
    await using bench = await openWorkbench({ clock })
    const pods = bench.client.resource('v1/Pod')
    const spec = { containers: [{ name: 'app', image: 'app:1' }] }
    await pods.create({ metadata: { name: 'web', namespace: 'default' }, spec })
    const lastTransitionTime = renderTime(clock.now())
    const conditions = [
      { type: 'DisruptionTarget', status: 'True', reason: 'EvictionByEvictionAPI', lastTransitionTime },
    ]
    const body = { status: { conditions } }
    await pods.patch('web', { type: 'merge', body }, { namespace: 'default', subresource: 'status' })
    const since = clock.now()
    const condition = await eventually(
      'it is taken back',
      asTimePasses(clock, async () => {
        const found = podCondition(await pods.get('web'), 'DisruptionTarget')
        return found?.status === 'False' && found
      }),
    )
    assert.ok(clock.now() - since >= 119_000)
    assert.equal(condition.reason, undefined)
    assert.deepEqual(bench.errors, [])
  })

  void it('cannot count against two budgets', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    await client.resource('apps/v1/Deployment').create(deployment('web', { replicas: 1 }))
    const [pod] = await readyPods(client, 1)
    await budgetOf(client, { maxUnavailable: 1, selector }, 1)
    const other = { metadata: { name: 'other', namespace: 'default' }, spec: { minAvailable: 0, selector } }
    await client.resource('policy/v1/PodDisruptionBudget').create(other)
    const refused = await evict(client, pod?.metadata?.name ?? '')
    assert.equal(refused?.httpStatus, 500)
    assert.match(refused?.message ?? '', /more than one PodDisruptionBudget/)
  })
})
