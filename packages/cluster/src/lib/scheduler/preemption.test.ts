import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Node, Pod, PodCondition } from '@fairlead/kube/types/core-v1'
import type { PodDisruptionBudget } from '@fairlead/kube/types/policy-v1'

import { findPlace } from './find-place.ts'
import type { Scene } from './find-place.ts'
import { viewNode } from './node-view.ts'
import { decidePreemption, partByBudgets, pickCandidate } from './preemption.ts'
import type { Preemption } from './preemption.ts'

function node(name: string, cpu = '4'): Node {
  return {
    metadata: { name, labels: { host: name } },
    status: { allocatable: { cpu, memory: '8Gi', pods: '110' }, conditions: [{ type: 'Ready', status: 'True' }] },
  }
}

interface Change {
  readonly cpu?: string
  readonly labels?: Record<string, string>
  readonly started?: number
  readonly spec?: Partial<NonNullable<Pod['spec']>>
  readonly going?: PodCondition
}

function pod(name: string, priority: number, { cpu = '1', labels, started = 0, spec, going }: Change = {}): Pod {
  return {
    metadata: {
      name,
      namespace: 'default',
      uid: name,
      ...(labels && { labels }),
      ...(going && { deletionTimestamp: '2026-05-04T10:00:00Z' }),
    },
    spec: { containers: [{ name: 'app', resources: { requests: { cpu } } }], priority, ...spec },
    status: {
      startTime: new Date(Date.UTC(2026, 4, 4) + started * 1000).toISOString(),
      ...(going && { conditions: [going] }),
    },
  }
}

function budget(app: string, disruptionsAllowed: number, disrupted: string[] = []): PodDisruptionBudget {
  return {
    metadata: { name: app, namespace: 'default' },
    spec: { selector: { matchLabels: { app } } },
    status: {
      disruptionsAllowed,
      currentHealthy: 1,
      desiredHealthy: 1,
      expectedPods: 1,
      disruptedPods: Object.fromEntries(disrupted.map((name) => [name, '2026-05-04T10:00:00Z'])),
    },
  }
}

interface Setting {
  readonly budgets?: PodDisruptionBudget[]
  readonly nominated?: string
  readonly expected?: Record<string, Pod[]>
}

/** What becomes of a pod that no node takes. */
function decide(
  wanting: Pod,
  placed: Record<string, Pod[]>,
  { budgets = [], nominated = '', expected = {} }: Setting = {},
): Preemption {
  const scene: Scene = {
    views: Object.entries(placed).map(([name, pods]) => viewNode(node(name), pods)),
    namespaces: () => undefined,
    nominatedOn: (name) => expected[name] ?? [],
  }
  const found = findPlace(wanting, scene)
  assert.ok('verdicts' in found)
  return decidePreemption(wanting, { scene, verdicts: found.verdicts, budgets, nominated })
}

function summary(decision: Preemption): string {
  if (decision.outcome !== 'preempt') return decision.message
  return `${decision.nodeName}: ${decision.victims.map(({ metadata }) => metadata?.name).join(' ')}`
}

const important = pod('x', 10, { cpu: '2' })
const full = (name: string, priority: number, change: Change = {}): Pod => pod(name, priority, { cpu: '4', ...change })
const preempted: PodCondition = { type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler' }

describe('decidePreemption', () => {
  const rows: { name: string; pod?: Pod; placed: Record<string, Pod[]>; setting?: Setting; expected: string }[] = [
    {
      name: 'takes the least important, and no more than needed',
      placed: { a: [pod('p1', 1), pod('p2', 2), pod('p3', 3), pod('p4', 4)] },
      expected: 'a: p2 p1',
    },
    {
      name: 'keeps small ones when a big one has to go anyway',
      placed: { a: [pod('small', 1), pod('big', 2, { cpu: '3' })] },
      expected: 'a: big',
    },
    {
      name: 'keeps those that have run longest',
      placed: { a: [pod('old', 1, { cpu: '2', started: 1 }), pod('young', 1, { cpu: '2', started: 2 })] },
      expected: 'a: young',
    },
    {
      name: 'finds nobody less important',
      placed: { a: [full('p', 10)] },
      expected: '0/1 nodes are available: 1 No preemption victims found for incoming pod.',
    },
    {
      name: 'cannot help where the node is not meant for the pod',
      pod: pod('x', 10, { spec: { nodeSelector: { host: 'b' } } }),
      placed: { a: [], b: [full('p', 10)] },
      expected:
        '0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.',
    },
    {
      name: 'cannot help a pod that is larger than the node',
      pod: pod('x', 10, { cpu: '5' }),
      placed: { a: [full('p', 1)] },
      expected: '0/1 nodes are available: 1 Preemption is not helpful for scheduling.',
    },
    {
      name: 'says what is left in the way',
      placed: { a: [pod('p', 1), pod('q', 10, { cpu: '3' })] },
      expected: '0/1 nodes are available: 1 Insufficient cpu.',
    },
    {
      name: 'does not if the pod says never',
      pod: pod('x', 10, { spec: { preemptionPolicy: 'Never' } }),
      placed: { a: [full('p', 1)] },
      expected: 'not eligible due to preemptionPolicy=Never.',
    },
    {
      name: 'waits for those that are going for it',
      placed: { a: [full('p', 1, { going: preempted })] },
      setting: { nominated: 'a' },
      expected: 'not eligible due to a terminating pod on the nominated node.',
    },
    {
      name: 'does not wait for those that go for another reason',
      placed: { a: [full('p', 1, { going: { ...preempted, reason: 'EvictionByEvictionAPI' } })] },
      setting: { nominated: 'a' },
      expected: 'a: p',
    },
    {
      name: 'prefers a node where no budget is violated',
      placed: { a: [full('p', 1, { labels: { app: 'web' } })], b: [full('q', 5)] },
      setting: { budgets: [budget('web', 0)] },
      expected: 'b: q',
    },
    {
      name: 'keeps those that budgets protect, though others are more important',
      placed: { a: [pod('p', 1, { cpu: '2', labels: { app: 'web' } }), pod('q', 5, { cpu: '2' })] },
      setting: { budgets: [budget('web', 0)] },
      expected: 'a: q',
    },
    {
      name: 'violates a budget where it must',
      placed: { a: [full('p', 1, { labels: { app: 'web' } })] },
      setting: { budgets: [budget('web', 0)] },
      expected: 'a: p',
    },
    { name: 'prefers the least important', placed: { a: [full('p', 3)], b: [full('q', 2)] }, expected: 'b: q' },
    {
      name: 'prefers to lose fewer',
      placed: {
        a: [pod('p', 2, { cpu: '2' }), pod('q', 2, { cpu: '1' }), full('r', 11, { cpu: '1' })],
        b: [full('s', 2)],
      },
      expected: 'a: p',
    },
    {
      name: 'prefers to lose those that began last',
      placed: { a: [full('p', 2, { started: 1 })], b: [full('q', 2, { started: 2 })] },
      expected: 'b: q',
    },
    {
      name: 'leaves room for those that are expected and matter as much',
      placed: { a: [full('p', 1)] },
      setting: { expected: { a: [pod('y', 10, { cpu: '3' })] } },
      expected: '0/1 nodes are available: 1 Insufficient cpu.',
    },
    {
      name: 'counts who keeps others away',
      pod: pod('x', 10),
      placed: {
        a: [
          pod('p', 1, {
            spec: {
              affinity: {
                podAntiAffinity: {
                  requiredDuringSchedulingIgnoredDuringExecution: [{ labelSelector: {}, topologyKey: 'host' }],
                },
              },
            },
          }),
          pod('q', 1),
        ],
      },
      expected: 'a: p',
    },
  ]
  for (const { name, pod: wanting = important, placed, setting, expected } of rows) {
    it(name, () => assert.equal(summary(decide(wanting, placed, setting)), expected))
  }
})

describe('partByBudgets', () => {
  it('takes from a budget what it allows, in order, and nothing for those it has counted', () => {
    const pods = ['a', 'b', 'c', 'd'].map((name) => pod(name, 0, { labels: { app: 'web' } }))
    const { protectedPods, others } = partByBudgets(pods, [budget('web', 1, ['b'])])
    assert.deepEqual(
      [protectedPods, others].map((part) => part.map(({ metadata }) => metadata?.name)),
      [
        ['c', 'd'],
        ['a', 'b'],
      ],
    )
  })
})

describe('pickCandidate', () => {
  it('does not take many of a negative priority for one', () => {
    const of = (nodeName: string, ...priorities: number[]) => {
      return {
        nodeName,
        violations: 0,
        victims: priorities.map((priority, index) => pod(`${nodeName}${index}`, priority)),
      }
    }
    assert.equal(pickCandidate([of('many', -5, -5, -5), of('one', -5)])?.nodeName, 'one')
    assert.equal(pickCandidate([]), undefined)
  })
})
