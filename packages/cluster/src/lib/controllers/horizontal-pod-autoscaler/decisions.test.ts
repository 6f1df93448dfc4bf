import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { HorizontalPodAutoscalerBehavior } from '@fairlead/kube/types/autoscaling-v2'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { createMemory, limit, noteScale } from './limits.ts'
import { parseWindow } from './metrics-client.ts'
import { decideByAverage, decideByUtilization, decideByValue, decideByValuePerPod } from './replicas.ts'
import type { PodMetrics, ReplicaFacts } from './replicas.ts'

const now = Date.parse('2026-11-21T12:00:00Z')
const ago = (ms: number): string => new Date(now - ms).toISOString()

interface Change {
  readonly phase?: string
  readonly ready?: 'True' | 'False'
  readonly startedMs?: number
  readonly changedMs?: number
  readonly isGoing?: boolean
  readonly request?: string
}

function pod(name: string, change: Change = {}): Pod {
  const {
    phase = 'Running',
    ready = 'True',
    startedMs = 3_600_000,
    changedMs = 3_500_000,
    isGoing,
    request = '1',
  } = change
  return {
    metadata: { name, ...(isGoing === true ? { deletionTimestamp: ago(0) } : {}) },
    spec: { containers: [{ name: 'app', resources: request === '' ? {} : { requests: { cpu: request } } }] },
    status: {
      phase,
      startTime: ago(startedMs),
      conditions: [{ type: 'Ready', status: ready, lastTransitionTime: ago(changedMs) }],
    },
  }
}

/** Values by the name of the pod, all of the last half minute. */
function measured(values: Readonly<Record<string, number>>): PodMetrics {
  return new Map(Object.entries(values).map(([name, value]) => [name, { value, at: now, windowMs: 30_000 }]))
}

const tolerances = { scaleDown: 0.1, scaleUp: 0.1 }

function facts(pods: readonly Pod[], metrics: Readonly<Record<string, number>>): ReplicaFacts {
  const currentReplicas = pods.length
  return { currentReplicas, pods, metrics: measured(metrics), tolerances, resource: 'cpu', now }
}

describe('decideByUtilization', () => {
  const abc = [pod('a'), pod('b'), pod('c')]
  const rows: {
    name: string
    pods: readonly Pod[]
    metrics: Record<string, number>
    target: number
    expected: number
  }[] = [
    { name: 'as much as wanted', pods: abc, metrics: { a: 300, b: 500, c: 700 }, target: 50, expected: 3 },
    { name: 'within tolerance', pods: abc, metrics: { a: 1010, b: 1030, c: 1020 }, target: 100, expected: 3 },
    { name: 'more', pods: abc, metrics: { a: 300, b: 500, c: 700 }, target: 30, expected: 5 },
    {
      name: 'less',
      pods: [...abc, pod('d'), pod('e')],
      metrics: { a: 100, b: 300, c: 500, d: 250, e: 250 },
      target: 50,
      expected: 3,
    },
    {
      name: 'pods that start do not add to the load',
      pods: [pod('a', { ready: 'False', startedMs: 20_000, changedMs: 20_000 }), pod('b'), pod('c')],
      metrics: { a: 300, b: 500, c: 700 },
      target: 30,
      expected: 4,
    },
    {
      name: 'a pending pod has nothing yet',
      pods: [pod('a', { phase: 'Pending' }), pod('b'), pod('c')],
      metrics: { b: 500, c: 700 },
      target: 30,
      expected: 4,
    },
    {
      name: 'pods that have failed or go do not count',
      pods: [pod('a', { phase: 'Failed' }), pod('b', { isGoing: true }), pod('c'), pod('d')],
      metrics: { a: 900, b: 900, c: 500, d: 700 },
      target: 30,
      expected: 4,
    },
    {
      name: 'unknown pods rest when there would be more',
      pods: [...abc, pod('d')],
      metrics: { a: 1000 },
      target: 50,
      expected: 4,
    },
    {
      name: 'unknown pods are busy when there would be less',
      pods: [...abc, pod('d')],
      metrics: { a: 100, b: 100, c: 100 },
      target: 100,
      expected: 2,
    },
  ]
  for (const { name, pods, metrics, target, expected } of rows) {
    it(name, () => assert.equal(decideByUtilization(facts(pods, metrics), target).replicas, expected))
  }

  it('tells the percentage and the average', () => {
    const { utilization, average } = decideByUtilization(facts(abc, { a: 300, b: 500, c: 700 }), 30)
    assert.deepEqual({ utilization, average }, { utilization: 50, average: 500 })
  })

  it('needs requests, and figures', () => {
    assert.throws(() => decideByUtilization(facts([pod('a', { request: '' })], { a: 1 }), 50), {
      message: 'missing request for cpu in container app of Pod a',
    })
    assert.throws(() => decideByUtilization(facts([pod('a', { phase: 'Pending' })], { a: 1 }), 50), {
      message: 'did not receive metrics for targeted pods (pods might be unready)',
    })
  })
})

describe('decideByAverage', () => {
  const abc = [pod('a'), pod('b'), pod('c')]
  it('divides', () => {
    assert.deepEqual(decideByAverage(facts(abc, { a: 20_000, b: 10_000, c: 30_000 }), 15_000), {
      replicas: 4,
      average: 20_000,
      utilization: undefined,
    })
  })
})

describe('decideByValue', () => {
  const abc = [pod('a'), pod('b'), pod('c', { ready: 'False' })]
  it('multiplies the pods that are ready', () => assert.equal(decideByValue(facts(abc, {}), 40_000, 20_000), 4))
  it('keeps what is near', () => assert.equal(decideByValue(facts(abc, {}), 21_000, 20_000), 3))
  it('begins from nothing', () => assert.equal(decideByValue(facts([], {}), 41_000, 20_000), 3))
})

describe('decideByValuePerPod', () => {
  for (const [value, replicas, average] of [
    [8600, 9, 2867],
    [3000, 3, 1000],
    [1000, 1, 334],
  ] as const) {
    it(`${value} of 1000 each`, () => {
      const options = { target: 1000, statusReplicas: 3 }
      assert.deepEqual(decideByValuePerPod({ tolerances }, value, options), { replicas, average })
    })
  }
})

describe('limit', () => {
  const ask = (current: number, desired: number) => ({ current, desired, min: 2, max: 20 })

  it('at most doubles, or goes to four, without behaviour', () => {
    assert.equal(limit(ask(2, 20), undefined, createMemory(), now).replicas, 4)
    const { replicas, scalingLimited } = limit(ask(3, 20), undefined, createMemory(), now)
    assert.deepEqual([replicas, scalingLimited.reason, scalingLimited.isLimited], [6, 'ScaleUpLimit', true])
    assert.equal(limit(ask(15, 25), undefined, createMemory(), now).scalingLimited.reason, 'TooManyReplicas')
    assert.equal(limit(ask(3, 1), undefined, createMemory(), now).scalingLimited.reason, 'TooFewReplicas')
  })

  it('waits five minutes before it goes down', () => {
    const memory = createMemory()
    assert.equal(limit(ask(8, 8), undefined, memory, now).ableToScale.reason, 'ReadyForNewScale')
    const held = limit(ask(8, 3), undefined, memory, now + 299_000)
    assert.deepEqual([held.replicas, held.ableToScale.reason], [8, 'ScaleDownStabilized'])
    assert.equal(limit(ask(8, 3), undefined, memory, now + 301_000).replicas, 3)
  })

  const rows: {
    name: string
    behavior: HorizontalPodAutoscalerBehavior
    current: number
    desired: number
    expected: [number, string]
  }[] = [
    { name: 'the default way up: four or twice', behavior: {}, current: 2, desired: 20, expected: [6, 'ScaleUpLimit'] },
    {
      name: 'one pod at a time',
      behavior: { scaleUp: { policies: [{ type: 'Pods', value: 1, periodSeconds: 60 }] } },
      current: 4,
      desired: 9,
      expected: [5, 'ScaleUpLimit'],
    },
    {
      name: 'the smaller of two policies',
      behavior: {
        scaleUp: {
          selectPolicy: 'Min',
          policies: [
            { type: 'Pods', value: 2, periodSeconds: 60 },
            { type: 'Percent', value: 10, periodSeconds: 60 },
          ],
        },
      },
      current: 10,
      desired: 20,
      expected: [11, 'ScaleUpLimit'],
    },
    {
      name: 'never up',
      behavior: { scaleUp: { selectPolicy: 'Disabled' } },
      current: 4,
      desired: 9,
      expected: [4, 'ScaleUpLimit'],
    },
    {
      name: 'a tenth at a time',
      behavior: {
        scaleDown: { stabilizationWindowSeconds: 0, policies: [{ type: 'Percent', value: 10, periodSeconds: 60 }] },
      },
      current: 15,
      desired: 2,
      expected: [13, 'ScaleDownLimit'],
    },
    {
      name: 'never down',
      behavior: { scaleDown: { stabilizationWindowSeconds: 0, selectPolicy: 'Disabled' } },
      current: 9,
      desired: 2,
      expected: [9, 'ScaleDownLimit'],
    },
    {
      name: 'down at once, to the least',
      behavior: { scaleDown: { stabilizationWindowSeconds: 0 } },
      current: 9,
      desired: 1,
      expected: [2, 'TooFewReplicas'],
    },
  ]
  for (const { name, behavior, current, desired, expected } of rows) {
    it(name, () => {
      const { replicas, scalingLimited } = limit(ask(current, desired), behavior, createMemory(), now)
      assert.deepEqual([replicas, scalingLimited.reason], expected)
    })
  }

  it('counts what was added within the period of a policy', () => {
    const behavior = { scaleUp: { policies: [{ type: 'Pods', value: 4, periodSeconds: 60 }] } }
    const memory = createMemory()
    noteScale(memory, 2, 5, now)
    assert.equal(limit(ask(5, 20), behavior, memory, now + 30_000).replicas, 6)
    assert.equal(limit(ask(5, 20), behavior, memory, now + 61_000).replicas, 9)
  })

  it('goes up by the least asked for in the window', () => {
    const behavior = { scaleUp: { stabilizationWindowSeconds: 60 } }
    const memory = createMemory()
    limit(ask(3, 3), behavior, memory, now)
    const held = limit(ask(3, 7), behavior, memory, now + 30_000)
    assert.deepEqual([held.replicas, held.ableToScale.reason], [3, 'ScaleUpStabilized'])
    assert.equal(limit(ask(3, 7), behavior, memory, now + 61_000).replicas, 7)
  })
})

describe('parseWindow', () => {
  for (const [text, expected] of [
    ['30s', 30_000],
    ['1m15.5s', 75_500],
    ['250ms', 250],
  ] as const) {
    it(text, () => assert.equal(parseWindow(text), expected))
  }
})
