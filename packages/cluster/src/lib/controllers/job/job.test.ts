import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { isNotFound } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import { findCondition } from '@fairlead/kube/controller'
import type { Job, JobSpec } from '@fairlead/kube/types/batch-v1'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { asTimePasses, createJumpClock } from '../testing/jump-clock.ts'
import type { JumpClock } from '../testing/jump-clock.ts'
import { eventually, openWorkbench } from '../testing/workbench.ts'
import { completionIndexOf } from './indexes.ts'
import { trackingFinalizer } from './job-facts.ts'

function job(name: string, change: Partial<JobSpec> = {}): Job {
  return {
    metadata: { name, namespace: 'default' },
    spec: {
      template: { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'task:1' }] } },
      ...change,
    },
  }
}

async function podsOf(client: KubeClient): Promise<Pod[]> {
  return (await client.resource('v1/Pod').list()).items
}

async function runningPods(client: KubeClient, count: number, clock?: JumpClock): Promise<Pod[]> {
  const find = async (): Promise<Pod[] | false> => {
    const pods = await podsOf(client)
    const active = pods.filter(
      ({ metadata, status }) => metadata?.deletionTimestamp === undefined && status?.phase === 'Pending',
    )
    return active.length === count && active
  }
  return eventually(`${count} pods at work`, clock === undefined ? find : asTimePasses(clock, find))
}

/** Plays the node agent: the container of a pod ends with `exitCode`. */
async function end(client: KubeClient, { metadata }: Pod, exitCode: number): Promise<void> {
  const terminated = { exitCode, finishedAt: new Date().toISOString().replace(/\.\d+/, '') }
  const containerStatuses = [
    { name: 'main', image: 'task:1', imageID: '', ready: false, restartCount: 0, state: { terminated } },
  ]
  const status = { phase: exitCode === 0 ? 'Succeeded' : 'Failed', containerStatuses }
  const patch = { type: 'merge', body: { status } } as const
  await client.resource('v1/Pod').patch(metadata?.name ?? '', patch, { subresource: 'status' })
}

/** Plays the node agent: lets go of pods that are to be deleted. */
async function letGo(client: KubeClient): Promise<void> {
  for (const { metadata } of await podsOf(client)) {
    if (metadata?.deletionTimestamp === undefined) continue
    await client
      .resource('v1/Pod')
      .delete(metadata.name ?? '', { gracePeriodSeconds: 0 })
      .catch((error: unknown) => {
        if (!isNotFound(error)) throw error
      })
  }
}

function finished(client: KubeClient, name: string, type: string, clock?: JumpClock): Promise<Job> {
  const find = async (): Promise<Job | false> => {
    await letGo(client)
    const found = await client.resource('batch/v1/Job').get(name)
    return findCondition(found.status?.conditions, type)?.status === 'True' && found
  }
  return eventually(`${name} is ${type}`, clock === undefined ? find : asTimePasses(clock, find))
}

async function reasonsOf(client: KubeClient): Promise<string[]> {
  return (await client.resource('v1/Event').list()).items.map(({ reason }) => reason ?? '')
}

void describe('runJobController', () => {
  void it('runs as many pods as fit until enough have succeeded, and counts each once', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    await client.resource('batch/v1/Job').create(job('sum', { completions: 5, parallelism: 2 }))
    for (let done = 0; done < 4; done += 1) {
      const [pod] = await runningPods(client, 2)
      assert.deepEqual(pod?.metadata?.finalizers, [trackingFinalizer])
      if (pod) await end(client, pod, 0)
    }
    const [last] = await runningPods(client, 1)
    if (last) await end(client, last, 0)
    const { status } = await finished(client, 'sum', 'Complete')
    assert.equal(status?.succeeded, 5)
    assert.equal(status?.active, undefined)
    assert.deepEqual(status?.uncountedTerminatedPods, {})
    assert.ok(status?.completionTime)
    assert.equal(findCondition(status?.conditions, 'SuccessCriteriaMet')?.reason, 'CompletionsReached')
    assert.ok((await podsOf(client)).every(({ metadata }) => (metadata?.finalizers ?? []).length === 0))
    await eventually('it is told', async () => (await reasonsOf(client)).includes('Completed'))
    assert.deepEqual(bench.errors, [])
  })

  void it('waits longer after each failure, and gives up at the limit', async () => {
    const clock = createJumpClock()
    await using bench = await openWorkbench({ clock })
    const { client } = bench
    await client.resource('batch/v1/Job').create(job('bad', { backoffLimit: 1 }))
    const [first] = await runningPods(client, 1)
    if (first) await end(client, first, 1)
    await eventually('the failure is counted', async () => {
      return (await client.resource('batch/v1/Job').get('bad')).status?.failed === 1
    })
    const failedAt = clock.now()
    const [second] = await runningPods(client, 1, clock)
    assert.ok(clock.now() - failedAt > 8000, 'a first failure waits ten seconds')
    if (second) await end(client, second, 1)
    const { status } = await finished(client, 'bad', 'Failed')
    assert.equal(status?.failed, 2)
    assert.equal(findCondition(status?.conditions, 'Failed')?.reason, 'BackoffLimitExceeded')
    assert.equal(findCondition(status?.conditions, 'FailureTarget')?.reason, 'BackoffLimitExceeded')
    assert.deepEqual(bench.errors, [])
  })

  void it('gives each index its pod, and tries an index again with what it knows of its failures', async () => {
    const clock = createJumpClock()
    await using bench = await openWorkbench({ clock })
    const { client } = bench
    const spec = { completions: 3, parallelism: 3, completionMode: 'Indexed', backoffLimitPerIndex: 1 }
    await client.resource('batch/v1/Job').create(job('parts', spec))
    const pods = await runningPods(client, 3)
    const sorted = pods.toSorted((a, b) => (completionIndexOf(a) ?? 0) - (completionIndexOf(b) ?? 0))
    assert.deepEqual(
      sorted.map(({ metadata, spec: { hostname } = {} }) => [
        hostname,
        metadata?.generateName,
        metadata?.labels?.['batch.kubernetes.io/job-completion-index'],
      ]),
      [0, 1, 2].map((index) => [`parts-${index}`, `parts-${index}-`, String(index)]),
    )
    assert.equal(
      sorted[0]?.spec?.containers[0]?.env?.[0]?.valueFrom?.fieldRef?.fieldPath,
      "metadata.labels['batch.kubernetes.io/job-completion-index']",
    )
    for (const [index, exitCode] of [0, 1, 0].entries()) {
      const pod = sorted[index]
      if (pod) await end(client, pod, exitCode)
    }
    await eventually('two are counted', async () => {
      return (await client.resource('batch/v1/Job').get('parts')).status?.completedIndexes === '0,2'
    })
    const [again] = await runningPods(client, 1, clock)
    assert.equal(again?.metadata?.annotations?.['batch.kubernetes.io/job-index-failure-count'], '1')
    if (again) await end(client, again, 1)
    const { status } = await finished(client, 'parts', 'Failed')
    assert.deepEqual(
      [status?.completedIndexes, status?.failedIndexes, status?.succeeded, status?.failed],
      ['0,2', '1', 2, 2],
    )
    assert.equal(findCondition(status?.conditions, 'Failed')?.reason, 'FailedIndexes')
    assert.deepEqual(bench.errors, [])
  })

  void it('takes its pods away while it is suspended, counts none of them, and begins its time anew', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const jobs = client.resource('batch/v1/Job')
    await jobs.create(job('nap', { parallelism: 2, completions: 2 }))
    await runningPods(client, 2)
    await jobs.patch('nap', { type: 'merge', body: { spec: { suspend: true } } })
    const suspended = await eventually('it is suspended', async () => {
      await letGo(client)
      const found = await jobs.get('nap')
      return findCondition(found.status?.conditions, 'Suspended')?.status === 'True' && found
    })
    assert.equal(suspended.status?.startTime, undefined)
    await eventually('the pods are gone', async () => {
      await letGo(client)
      return (await podsOf(client)).length === 0
    })
    assert.equal((await jobs.get('nap')).status?.failed, undefined)
    await jobs.patch('nap', { type: 'merge', body: { spec: { suspend: false } } })
    for (const pod of await runningPods(client, 2)) await end(client, pod, 0)
    const { status } = await finished(client, 'nap', 'Complete')
    assert.equal(findCondition(status?.conditions, 'Suspended')?.reason, 'JobResumed')
    assert.deepEqual(bench.errors, [])
  })

  void it('ends when its time is over, and is deleted with its pods when it has been kept long enough', async () => {
    const clock = createJumpClock()
    await using bench = await openWorkbench({ clock })
    const { client } = bench
    const jobs = client.resource('batch/v1/Job')
    await jobs.create(job('slow', { activeDeadlineSeconds: 60, ttlSecondsAfterFinished: 100 }))
    await runningPods(client, 1)
    const startedAt = clock.now()
    const { status } = await finished(client, 'slow', 'Failed', clock)
    assert.ok(clock.now() - startedAt > 55_000)
    assert.equal(findCondition(status?.conditions, 'Failed')?.reason, 'DeadlineExceeded')
    const finishedAt = clock.now()
    const isGone = (): Promise<boolean> =>
      jobs.get('slow').then(
        () => false,
        (error: unknown) => isNotFound(error),
      )
    await eventually('it is gone', asTimePasses(clock, isGone))
    assert.ok(clock.now() - finishedAt > 95_000)
    assert.deepEqual(await podsOf(client), [])
    assert.deepEqual(bench.errors, [])
  })

  void it('fails as a whole when a rule for failed pods says so', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const rules = [{ action: 'FailJob', onExitCodes: { operator: 'In', values: [42] } }]
    await client
      .resource('batch/v1/Job')
      .create(job('strict', { parallelism: 3, completions: 3, podFailurePolicy: { rules } }))
    const [first] = await runningPods(client, 3)
    if (first) await end(client, first, 42)
    const { status } = await finished(client, 'strict', 'Failed')
    const { reason, message } = findCondition(status?.conditions, 'Failed') ?? {}
    assert.equal(reason, 'PodFailurePolicy')
    assert.match(
      message ?? '',
      /^Container main for pod default\/strict-\w{5} failed with exit code 42 matching FailJob rule at index 0$/,
    )
    assert.equal(status?.failed, 3)
    assert.deepEqual(bench.errors, [])
  })

  void it('is complete when the indexes that matter have succeeded', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const successPolicy = { rules: [{ succeededIndexes: '0,2-3', succeededCount: 1 }] }
    const spec = { completions: 4, parallelism: 4, completionMode: 'Indexed', successPolicy }
    await client.resource('batch/v1/Job').create(job('leader', spec))
    const leader = (await runningPods(client, 4)).find((pod) => completionIndexOf(pod) === 2)
    if (leader) await end(client, leader, 0)
    const { status } = await finished(client, 'leader', 'Complete')
    assert.equal(findCondition(status?.conditions, 'Complete')?.reason, 'SuccessPolicy')
    assert.equal(findCondition(status?.conditions, 'Complete')?.message, 'Matched rules at index 0')
    assert.deepEqual([status?.succeeded, status?.completedIndexes, status?.failed], [1, '2', undefined])
    assert.deepEqual(bench.errors, [])
  })

  void it('adopts matching pods with a finalizer, releases others without, and leaves the jobs of others alone', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    const jobs = client.resource('batch/v1/Job')
    const pods = client.resource('v1/Pod')
    await jobs.create(job('theirs', { managedBy: 'example.com/robot' }))
    await jobs.create(job('mine'))
    const [pod] = await runningPods(client, 1)
    const name = pod?.metadata?.name ?? ''
    await pods.patch(name, {
      type: 'merge',
      body: { metadata: { labels: { 'batch.kubernetes.io/controller-uid': null } } },
    })
    const released = await eventually('it is released', async () => {
      const found = await pods.get(name)
      return (found.metadata?.ownerReferences ?? []).length === 0 && found
    })
    assert.deepEqual(released.metadata?.finalizers ?? [], [])
    const [other] = (await runningPods(client, 2)).filter(({ metadata }) => metadata?.name !== name)
    await pods.delete(other?.metadata?.name ?? '', { gracePeriodSeconds: 0 })
    const labels = { 'batch.kubernetes.io/controller-uid': (await jobs.get('mine')).metadata?.uid ?? '' }
    await pods.patch(name, { type: 'merge', body: { metadata: { labels } } })
    const adopted = await eventually('it is adopted', async () => {
      const found = await pods.get(name)
      return (found.metadata?.ownerReferences ?? []).length === 1 && found
    })
    assert.deepEqual(adopted.metadata?.finalizers, [trackingFinalizer])
    assert.equal((await jobs.get('theirs')).status?.startTime, undefined)
  })

  void it('lets the pods of a job that is deleted go', async () => {
    await using bench = await openWorkbench()
    const { client } = bench
    await client.resource('batch/v1/Job').create(job('gone', { parallelism: 2, completions: 2 }))
    await runningPods(client, 2)
    await client.resource('batch/v1/Job').delete('gone', { propagationPolicy: 'Background' })
    await eventually('all is gone', async () => {
      await letGo(client)
      return (await podsOf(client)).length === 0
    })
    assert.deepEqual(bench.errors, [])
  })
})
