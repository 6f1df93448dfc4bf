import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Job, JobSpec, JobStatus, PodFailurePolicyRule } from '@fairlead/kube/types/batch-v1'
import type { Pod, PodStatus } from '@fairlead/kube/types/core-v1'

import { backoffLeftMs, continueBackoff, finishedAt, noBackoff } from './backoff.ts'
import { countPods } from './count-pods.ts'
import type { JobView } from './count-pods.ts'
import { decideEnd, decideStep } from './decide-job.ts'
import {
  completionIndexKey,
  countShared,
  hasIndex,
  lowestFree,
  mergeIndexes,
  parseIndexes,
  renderIndexes,
  toIndexes,
} from './indexes.ts'
import { trackingFinalizer } from './job-facts.ts'
import { judgeFailure, judgeSuccess } from './policies.ts'
import { isForgotten } from './released-pods.ts'
import { renderPod } from './render-pod.ts'
import { ttlLeftMs } from './ttl-after-finished.ts'

const start = Date.parse('2026-05-04T10:00:00Z')
const at = (second: number): string => new Date(start + second * 1000).toISOString().replace('.000', '')

function ended(exitCode: number, second = 0): PodStatus {
  const state = { terminated: { exitCode, finishedAt: at(second) } }
  const main = { name: 'main', image: '', imageID: '', ready: false, restartCount: 0, state }
  return { phase: exitCode === 0 ? 'Succeeded' : 'Failed', containerStatuses: [main] }
}

interface PodFacts {
  readonly status?: PodStatus
  readonly index?: number
  readonly failures?: number
  readonly going?: boolean
}

function pod(uid: string, { status = { phase: 'Running' }, index, failures, going }: PodFacts = {}): Pod {
  const annotations = {
    ...(index !== undefined && { [completionIndexKey]: String(index) }),
    ...(failures !== undefined && { 'batch.kubernetes.io/job-index-failure-count': String(failures) }),
  }
  const deletion = going === true ? { deletionTimestamp: at(0) } : {}
  const metadata = { name: uid, uid, namespace: 'shop', finalizers: [trackingFinalizer], annotations, ...deletion }
  return { metadata, spec: { containers: [] }, status }
}

function view(
  spec: Partial<JobSpec>,
  pods: readonly Pod[],
  more: Partial<JobView> & { status?: JobStatus } = {},
): JobView {
  const { status = { startTime: at(0) }, ...rest } = more
  const defaults = {
    parallelism: 1,
    backoffLimit: 6,
    completionMode: 'NonIndexed',
    template: { spec: { restartPolicy: 'Never', containers: [] } },
  }
  const job: Job = { metadata: { name: 'sum', uid: 'j' }, spec: { ...defaults, ...spec }, status }
  return { job, pods, isReleased: () => false, backoff: noBackoff, now: start + 1000, ...rest }
}

void describe('indexes', () => {
  for (const [text, completions, rendered] of [
    ['0,2-4,6', 10, '0,2-4,6'],
    ['1,2', 10, '1,2'],
    ['0-3', 3, '0-2'],
    ['5,1,x,2-', 9, '1,5'],
    ['', 9, ''],
  ] as const) {
    void it(`reads "${text}"`, () => assert.equal(renderIndexes(parseIndexes(text, completions)), rendered))
  }

  void it('merges, finds and counts as sets do', () => {
    let seed = 7
    const random = (below: number): number => (seed = (seed * 48271) % 2147483647) % below
    for (let round = 0; round < 300; round += 1) {
      const [a, b] = [0, 1].map(() => new Set(Array.from({ length: random(12) }, () => random(20)))) as [
        Set<number>,
        Set<number>,
      ]
      const union = new Set([...a, ...b])
      const merged = mergeIndexes(toIndexes(a), toIndexes(b))
      const all = Array.from({ length: 20 }, (_, index) => index)
      assert.deepEqual(
        all.filter((index) => hasIndex(merged, index)),
        all.filter((index) => union.has(index)),
      )
      assert.equal(countShared(toIndexes(a), toIndexes(b)), [...a].filter((index) => b.has(index)).length)
      assert.deepEqual(lowestFree(merged, 4, 20), all.filter((index) => !union.has(index)).slice(0, 4))
      assert.deepEqual(parseIndexes(renderIndexes(merged), 20), merged)
    }
  })
})

void describe('judgeFailure', () => {
  const exit = (action: string, operator: string, values: number[], containerName?: string): PodFailurePolicyRule => {
    return { action, onExitCodes: { operator, values, ...(containerName !== undefined && { containerName }) } }
  }
  const disrupted = { ...ended(137), conditions: [{ type: 'DisruptionTarget', status: 'True' }] }
  const onDisruption = (action: string): PodFailurePolicyRule => ({
    action,
    onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }],
  })
  const cases: { name: string; rules: PodFailurePolicyRule[]; status?: PodStatus; expected: unknown }[] = [
    { name: 'counts without rules', rules: [], expected: [true, false, false] },
    { name: 'ignores', rules: [exit('Ignore', 'In', [3])], expected: [false, false, false] },
    { name: 'fails the index', rules: [exit('FailIndex', 'NotIn', [4])], expected: [true, true, false] },
    { name: 'fails the job', rules: [exit('FailJob', 'In', [3])], expected: [true, false, true] },
    {
      name: 'takes the first rule',
      rules: [exit('Count', 'In', [3]), exit('FailJob', 'In', [3])],
      expected: [true, false, false],
    },
    { name: 'asks another container', rules: [exit('FailJob', 'In', [3], 'side')], expected: [true, false, false] },
    { name: 'asks conditions', rules: [onDisruption('Ignore')], status: disrupted, expected: [false, false, false] },
    {
      name: 'does not take success for a failure',
      rules: [exit('FailJob', 'NotIn', [4])],
      status: ended(0),
      expected: [true, false, false],
    },
  ]
  for (const { name, rules, status = ended(3), expected } of cases) {
    void it(name, () => {
      const { isCounted, failsIndex, failsJob } = judgeFailure({ rules }, pod('p', { status }))
      assert.deepEqual([isCounted, failsIndex, failsJob !== undefined], expected)
    })
  }
})

void describe('judgeSuccess', () => {
  for (const [name, rule, succeeded, isMet] of [
    ['all of some', { succeededIndexes: '0,2' }, '0-2', true],
    ['not all of some', { succeededIndexes: '0,2' }, '0,1', false],
    ['so many of some', { succeededIndexes: '0-5', succeededCount: 2 }, '4,5,7', true],
    ['so many of any', { succeededCount: 3 }, '1,5,7', true],
    ['too few of any', { succeededCount: 4 }, '1,5,7', false],
    ['nothing yet', { succeededCount: 0 }, '', false],
  ] as const) {
    void it(name, () =>
      assert.equal(judgeSuccess({ rules: [rule] }, parseIndexes(succeeded, 10), 10) !== undefined, isMet),
    )
  }
})

void describe('backoff', () => {
  const failed = (second: number): Pod => pod('f', { status: ended(1, second) })
  const succeeded = (second: number): Pod => pod('s', { status: ended(0, second) })

  void it('doubles from ten seconds to ten minutes', () => {
    const waits = [0, 1, 2, 3, 7, 50].map((failures) => backoffLeftMs({ failures, lastFailureAt: start }, start))
    assert.deepEqual(waits, [0, 10_000, 20_000, 40_000, 600_000, 600_000])
  })

  void it('goes on with failures, and begins anew after a success', () => {
    const one = continueBackoff(noBackoff, [], [failed(1)])
    assert.deepEqual(one, { failures: 1, lastFailureAt: start + 1000 })
    assert.deepEqual(continueBackoff(one, [], [failed(3), failed(2)]), { failures: 3, lastFailureAt: start + 3000 })
    assert.deepEqual(continueBackoff(one, [succeeded(5)], [failed(4), failed(6)]), {
      failures: 1,
      lastFailureAt: start + 6000,
    })
    assert.deepEqual(continueBackoff(one, [succeeded(5)], []), noBackoff)
  })

  void it('knows when a pod ended that tells nothing of its containers', () => {
    const conditions = [{ type: 'Ready', status: 'False', lastTransitionTime: at(7) }]
    assert.equal(finishedAt(pod('p', { status: { phase: 'Failed', conditions } })), start + 7000)
    assert.equal(finishedAt(pod('p', { status: { phase: 'Failed' }, going: true })), start)
  })
})

void describe('decideEnd', () => {
  const onFailure = { template: { spec: { restartPolicy: 'OnFailure', containers: [] } } }
  const restarted = (restartCount: number): PodStatus => ({
    phase: 'Running',
    containerStatuses: [{ name: 'main', image: '', imageID: '', ready: true, restartCount }],
  })
  const indexed = { completionMode: 'Indexed', completions: 3, parallelism: 3 }
  const cases: { name: string; view: JobView; reason: string | undefined }[] = [
    { name: 'goes on', view: view({}, [pod('a')]), reason: undefined },
    {
      name: 'allows as many failures as the limit',
      view: view({ backoffLimit: 1 }, [pod('a', { status: ended(1) })]),
      reason: undefined,
    },
    {
      name: 'allows no more',
      view: view({ backoffLimit: 1 }, [pod('a', { status: ended(1) }), pod('b', { status: ended(1) })]),
      reason: 'BackoffLimitExceeded',
    },
    {
      name: 'counts restarts in place',
      view: view({ ...onFailure, backoffLimit: 2 }, [pod('a', { status: restarted(2) })]),
      reason: 'BackoffLimitExceeded',
    },
    { name: 'ends in time', view: view({ activeDeadlineSeconds: 1 }, [pod('a')]), reason: 'DeadlineExceeded' },
    {
      name: 'does not count the time of a suspended job',
      view: view({ activeDeadlineSeconds: 1, suspend: true }, []),
      reason: undefined,
    },
    {
      name: 'allows some indexes to fail',
      view: view({ ...indexed, backoffLimitPerIndex: 0, maxFailedIndexes: 1 }, [
        pod('a', { index: 0, status: ended(1) }),
      ]),
      reason: undefined,
    },
    {
      name: 'allows no more of them',
      view: view({ ...indexed, backoffLimitPerIndex: 0, maxFailedIndexes: 0 }, [
        pod('a', { index: 0, status: ended(1) }),
      ]),
      reason: 'MaxFailedIndexesExceeded',
    },
    {
      name: 'fails when what is left has failed',
      view: view({ ...indexed, backoffLimitPerIndex: 0 }, [pod('a', { index: 1, status: ended(1) })], {
        status: { startTime: at(0), completedIndexes: '0,2' },
      }),
      reason: 'FailedIndexes',
    },
    {
      name: 'stays with an end that was announced',
      view: view({}, [], { status: { conditions: [{ type: 'FailureTarget', status: 'True', reason: 'Before' }] } }),
      reason: 'Before',
    },
  ]
  for (const { name, view: given, reason } of cases) {
    void it(name, () => assert.equal(decideEnd(given, countPods(given))?.reason, reason))
  }
})

void describe('decideStep', () => {
  const step = (given: JobView): unknown => {
    const decided = decideStep(given, countPods(given))
    if (decided.act === 'create') return { create: decided.indexes }
    if (decided.act === 'remove') return { remove: decided.pods.map(({ metadata }) => metadata?.uid) }
    return decided
  }
  const indexed = { completionMode: 'Indexed', completions: 4, parallelism: 2 }
  const cases: { name: string; view: JobView; expected: unknown }[] = [
    {
      name: 'creates what is missing',
      view: view({ completions: 3, parallelism: 2 }, [pod('a')]),
      expected: { create: [undefined] },
    },
    {
      name: 'needs no more than are left',
      view: view({ completions: 3, parallelism: 3 }, [pod('a', { status: ended(0) })]),
      expected: { create: [undefined, undefined] },
    },
    {
      name: 'begins nothing after the first success of a work queue',
      view: view({ parallelism: 2 }, [pod('a', { status: ended(0) })]),
      expected: { act: 'none' },
    },
    {
      name: 'waits after a failure',
      view: view({ completions: 1 }, [pod('a', { status: ended(1) })]),
      expected: { act: 'none', requeueAfterMs: 9000 },
    },
    {
      name: 'takes away what is too much',
      view: view({ completions: 5, parallelism: 0 }, [pod('a')]),
      expected: { remove: ['a'] },
    },
    {
      name: 'takes all away when suspended',
      view: view({ completions: 5, suspend: true }, [pod('a')]),
      expected: { remove: ['a'] },
    },
    {
      name: 'replaces what is on its way out at once',
      view: view({ completions: 1 }, [pod('a', { going: true })], { now: start + 60_000 }),
      expected: { create: [undefined] },
    },
    {
      name: 'waits for its end when told so',
      view: view({ completions: 1, podReplacementPolicy: 'Failed' }, [pod('a', { going: true })], {
        now: start + 60_000,
      }),
      expected: { act: 'none' },
    },
    {
      name: 'takes the lowest indexes that are free',
      view: view({ ...indexed, parallelism: 3 }, [pod('a', { index: 1 })], {
        status: { startTime: at(0), completedIndexes: '0' },
      }),
      expected: { create: [2, 3] },
    },
    {
      name: 'keeps one pod for each index, and none beyond',
      view: view(indexed, [pod('a', { index: 1 }), pod('b', { index: 1 }), pod('c', { index: 9 }), pod('d')]),
      expected: { remove: ['a', 'c', 'd'] },
    },
    {
      name: 'lets other indexes go on while one waits',
      view: view({ ...indexed, backoffLimitPerIndex: 3 }, [pod('a', { index: 0, status: ended(1), failures: 1 })]),
      expected: { create: [1] },
    },
  ]
  for (const { name, view: given, expected } of cases) void it(name, () => assert.deepEqual(step(given), expected))
})

void describe('renderPod', () => {
  const { job } = view({ completionMode: 'Indexed', completions: 20, backoffLimitPerIndex: 2 }, [])

  void it('shortens a long name, not the index', () => {
    const long = { ...job, metadata: { ...job.metadata, name: 'x'.repeat(60) } }
    assert.equal(renderPod(long, 12, undefined).metadata?.generateName, `${'x'.repeat(54)}-12-`)
  })

  void it('passes the failures of its index on', () => {
    const { metadata } = renderPod(job, 1, pod('a', { index: 1, status: ended(1), failures: 1 }))
    assert.equal(metadata?.annotations?.['batch.kubernetes.io/job-index-failure-count'], '2')
  })
})

void describe('isForgotten', () => {
  const reference = { apiVersion: 'batch/v1', kind: 'Job', name: 'sum', uid: 'j', controller: true }
  const owned: Pod = { ...pod('a'), metadata: { ...pod('a').metadata, ownerReferences: [reference] } }
  const finished: Job = { status: { conditions: [{ type: 'Complete', status: 'True' }] } }
  for (const [name, given, job, expected] of [
    ['a pod of a job at work', owned, {}, false],
    ['a pod of a finished job', owned, finished, true],
    ['a pod of a job that is gone', owned, undefined, true],
    ['a pod of nobody', pod('a'), undefined, true],
    ['a pod of a job somebody else runs', owned, { ...finished, spec: { managedBy: 'x/y', template: {} } }, false],
  ] as const) {
    void it(name, () => assert.equal(isForgotten(given, job), expected))
  }
})

void describe('ttlLeftMs', () => {
  const conditions = [{ type: 'Failed', status: 'True', lastTransitionTime: at(10) }]
  const job: Job = { spec: { ttlSecondsAfterFinished: 20, template: {} }, status: { conditions } }
  void it('counts from the end', () => assert.equal(ttlLeftMs(job, start + 15_000), 15_000))
  void it('is nothing for a job at work', () => assert.equal(ttlLeftMs({ ...job, status: {} }, start), undefined))
  void it('is nothing without a time', () =>
    assert.equal(ttlLeftMs({ ...job, spec: { template: {} } }, start), undefined))
})
