import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { createKubeClient } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import { findCondition } from '@fairlead/kube/controller'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { createApiServer } from '../apiserver/server.ts'
import { openStore } from '../storage/store.ts'
import { runScheduler } from './run-scheduler.ts'

async function openScheduler(): Promise<AsyncDisposable & { client: KubeClient; errors: unknown[] }> {
  const store = await openStore({ dir: '', durability: 'memory' })
  const server = createApiServer({ store })
  const client = createKubeClient({ transport: server.transport({ user: 'admin', groups: ['system:masters'] }) })
  const stop = new AbortController()
  const errors: unknown[] = []
  const running = runScheduler({ client, signal: stop.signal, onError: (error) => errors.push(error) })
  return {
    client,
    errors,
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
      await server.close()
      await store.close()
    },
  }
}

async function addNode(client: KubeClient, name: string, cpu: string): Promise<void> {
  const conditions = [{ type: 'Ready', status: 'True' }]
  const status = { allocatable: { cpu, memory: '8Gi', pods: '110' }, conditions }
  await client.resource('v1/Node').create({ metadata: { name }, status })
  await client.resource('v1/Node').patch(name, { type: 'merge', body: { status } }, { subresource: 'status' })
}

function pod(name: string, cpu: string): Pod {
  return {
    metadata: { name },
    spec: { containers: [{ name: 'app', image: 'app:1', resources: { requests: { cpu } } }] },
  }
}

/** Follows the pod until `isWanted`. */
async function watchPod(client: KubeClient, name: string, isWanted: (pod: Pod) => boolean): Promise<Pod> {
  const pods = client.resource('v1/Pod')
  const signal = AbortSignal.timeout(30_000)
  for await (const { object } of pods.watch({
    fieldSelector: `metadata.name=${name}`,
    sendInitialEvents: true,
    signal,
  })) {
    if (isWanted(object)) {
      return object
    }
  }
  throw new Error(`the watch of pod ${name} ended`)
}

void describe('runScheduler', () => {
  void it('binds a pod, says so, and says why it cannot bind another until it can', async () => {
    await using scheduler = await openScheduler()
    const { client } = scheduler
    const pods = client.resource('v1/Pod')
    await pods.create(pod('early', '1'))
    const waiting = await watchPod(
      client,
      'early',
      ({ status }) => findCondition(status?.conditions, 'PodScheduled')?.status === 'False',
    )
    const condition = findCondition(waiting.status?.conditions, 'PodScheduled')
    assert.equal(condition?.reason, 'Unschedulable')
    assert.equal(condition?.message, 'no nodes available to schedule pods')

    await addNode(client, 'n1', '2')
    const bound = await watchPod(client, 'early', ({ spec }) => spec?.nodeName !== undefined)
    assert.equal(bound.spec?.nodeName, 'n1')
    assert.equal(findCondition(bound.status?.conditions, 'PodScheduled')?.status, 'True')

    await pods.create(pod('big', '1500m'))
    const message =
      '0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.'
    await watchPod(
      client,
      'big',
      ({ status }) => findCondition(status?.conditions, 'PodScheduled')?.message === message,
    )
    await pods.delete('early', { gracePeriodSeconds: 0 })
    await watchPod(client, 'big', ({ spec }) => spec?.nodeName === 'n1')

    const { items } = await client.resource('v1/Event').list()
    const told = items.map(({ reason, message: text, involvedObject }) => `${involvedObject.name} ${reason}: ${text}`)
    assert.ok(told.includes('early Scheduled: Successfully assigned default/early to n1'))
    assert.ok(told.includes(`big FailedScheduling: ${message}`))
    assert.deepEqual(scheduler.errors, [])
  })

  void it('never gives away the same room twice', async () => {
    await using scheduler = await openScheduler()
    const { client } = scheduler
    const pods = client.resource('v1/Pod')
    await addNode(client, 'n1', '5')
    await addNode(client, 'n2', '5')
    await Promise.all(Array.from({ length: 12 }, (_, index) => pods.create(pod(`p${index}`, '1'))))
    const deadline = Date.now() + 30_000
    const decided = (one: Pod): boolean =>
      one.spec?.nodeName !== undefined || findCondition(one.status?.conditions, 'PodScheduled')?.status === 'False'
    let items: Pod[]
    do {
      ;({ items } = await pods.list())
      assert.ok(Date.now() < deadline, 'not all pods were decided')
    } while (!items.every(decided))
    const on = (name: string | undefined): number => items.filter(({ spec }) => spec?.nodeName === name).length
    assert.deepEqual([on('n1'), on('n2'), on(undefined)], [5, 5, 2])
  })

  void it('takes room from less important pods, and tells both', async () => {
    await using scheduler = await openScheduler()
    const { client } = scheduler
    const pods = client.resource('v1/Pod')
    await client.resource('scheduling.k8s.io/v1/PriorityClass').create({ metadata: { name: 'high' }, value: 1000 })
    await addNode(client, 'n1', '2')
    for (const name of ['small', 'large']) {
      await pods.create(pod(name, name === 'small' ? '500m' : '1500m'))
      await watchPod(client, name, ({ spec }) => spec?.nodeName === 'n1')
    }
    const { spec } = pod('urgent', '1')
    const urgent = await pods.create({
      metadata: { name: 'urgent' },
      spec: { ...spec, priorityClassName: 'high' } as Pod['spec'] & object,
    })

    const victim = await watchPod(client, 'large', ({ metadata }) => metadata?.deletionTimestamp !== undefined)
    assert.equal(victim.metadata?.deletionGracePeriodSeconds, 30)
    const target = findCondition(victim.status?.conditions, 'DisruptionTarget')
    assert.deepEqual(
      [target?.status, target?.reason, target?.message],
      ['True', 'PreemptionByScheduler', 'default-scheduler: preempting to accommodate a higher priority pod'],
    )
    const waiting = await watchPod(client, 'urgent', ({ status }) => status?.nominatedNodeName === 'n1')
    assert.equal(
      findCondition(waiting.status?.conditions, 'PodScheduled')?.message,
      '0/1 nodes are available: 1 Insufficient cpu.',
    )
    // Room was made for another: what is of less importance does not get it.
    await pods.create(pod('late', '1'))
    await watchPod(
      client,
      'late',
      ({ status }) => findCondition(status?.conditions, 'PodScheduled')?.status === 'False',
    )
    await pods.delete('large', { gracePeriodSeconds: 0 })
    const bound = await watchPod(client, 'urgent', ({ spec: seen }) => seen?.nodeName === 'n1')
    assert.equal(bound.status?.nominatedNodeName, undefined)
    assert.equal((await pods.get('small')).metadata?.deletionTimestamp, undefined)

    const { items } = await client.resource('v1/Event').list()
    const told = items.map(({ reason, message, involvedObject }) => `${involvedObject.name} ${reason}: ${message}`)
    assert.ok(told.includes(`large Preempted: Preempted by pod ${urgent.metadata?.uid} on node n1`))
    assert.deepEqual(scheduler.errors, [])
  })

  void it('leaves pods with gates alone until they are gone', async () => {
    await using scheduler = await openScheduler()
    const { client } = scheduler
    const pods = client.resource('v1/Pod')
    await addNode(client, 'n1', '2')
    const { spec } = pod('gated', '1')
    const schedulingGates = [{ name: 'example.com/wait' }]
    await pods.create({ metadata: { name: 'gated' }, spec: { ...spec, schedulingGates } as Pod['spec'] & object })
    await pods.create(pod('free', '1'))
    await watchPod(client, 'free', ({ spec: seen }) => seen?.nodeName === 'n1')
    const gated = await pods.get('gated')
    assert.equal(gated.spec?.nodeName, undefined)
    assert.equal(findCondition(gated.status?.conditions, 'PodScheduled')?.reason, 'SchedulingGated')
    await pods.patch('gated', { type: 'merge', body: { spec: { schedulingGates: null } } })
    await watchPod(client, 'gated', ({ spec: seen }) => seen?.nodeName === 'n1')
    assert.deepEqual(scheduler.errors, [])
  })

  void it('does not promise a node any longer when nothing is gained there', async () => {
    await using scheduler = await openScheduler()
    const { client } = scheduler
    const pods = client.resource('v1/Pod')
    await client.resource('scheduling.k8s.io/v1/PriorityClass').create({ metadata: { name: 'high' }, value: 1000 })
    await addNode(client, 'n1', '1')
    await pods.create(pod('first', '1'))
    await watchPod(client, 'first', ({ spec }) => spec?.nodeName === 'n1')
    const { spec } = pod('urgent', '1')
    await pods.create({
      metadata: { name: 'urgent' },
      spec: { ...spec, priorityClassName: 'high' } as Pod['spec'] & object,
    })
    await watchPod(client, 'urgent', ({ status }) => status?.nominatedNodeName === 'n1')
    await client.resource('v1/Node').patch('n1', { type: 'merge', body: { spec: { unschedulable: true } } })
    await pods.delete('first', { gracePeriodSeconds: 0 })
    const waiting = await watchPod(client, 'urgent', ({ status }) => status?.nominatedNodeName === undefined)
    assert.equal(
      findCondition(waiting.status?.conditions, 'PodScheduled')?.message,
      '0/1 nodes are available: 1 node(s) were unschedulable. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.',
    )
    await client.resource('v1/Node').patch('n1', { type: 'merge', body: { spec: { unschedulable: null } } })
    await watchPod(client, 'urgent', ({ spec: seen }) => seen?.nodeName === 'n1')
    assert.deepEqual(scheduler.errors, [])
  })
})
