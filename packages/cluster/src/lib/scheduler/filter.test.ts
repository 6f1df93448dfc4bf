import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Node, Pod } from '@fairlead/kube/types/core-v1'

import { rejectionsOf } from './filter.ts'
import { viewNode } from './node-view.ts'
import { describeRejections } from './rejection.ts'
import { requestsOf } from './resources.ts'
import { choose } from './score.ts'

type NodeChange = Partial<Pick<Node, 'spec'>> & {
  labels?: Record<string, string>
  allocatable?: Record<string, string>
  ready?: string
}

function node(name: string, change: NodeChange = {}): Node {
  return {
    metadata: { name, labels: { 'kubernetes.io/hostname': name, ...change.labels } },
    spec: change.spec ?? {},
    status: {
      allocatable: change.allocatable ?? { cpu: '1', memory: '1Gi', pods: '3' },
      conditions: [{ type: 'Ready', status: change.ready ?? 'True' }],
    },
  }
}

function pod(name: string, spec: Partial<NonNullable<Pod['spec']>> = {}, owner?: string): Pod {
  const ownerReferences =
    owner === undefined
      ? []
      : [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: owner, uid: owner, controller: true }]
  return { metadata: { name, uid: name, ownerReferences }, spec: { containers: [{ name: 'app' }], ...spec } }
}

const asking = (requests: Record<string, string>): Partial<NonNullable<Pod['spec']>> => ({
  containers: [{ name: 'app', resources: { requests } }],
})
const listening = (hostPort: number, hostIP?: string): Partial<NonNullable<Pod['spec']>> => {
  return { containers: [{ name: 'app', ports: [{ containerPort: 80, hostPort, hostIP }] }] }
}
const requiring = (key: string, operator: string, values?: string[]): Partial<NonNullable<Pod['spec']>> => {
  const term = { matchExpressions: [{ key, operator, values }] }
  return {
    affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] } } },
  }
}

void describe('rejectionsOf', () => {
  const mismatch = ["node(s) didn't match Pod's node affinity/selector"]
  const cases: { name: string; pod: Pod; node?: Node; others?: Pod[]; expected: string[] }[] = [
    { name: 'a plain pod fits', pod: pod('a'), expected: [] },
    {
      name: 'cordoned',
      pod: pod('a'),
      node: node('n', { spec: { unschedulable: true } }),
      expected: ['node(s) were unschedulable'],
    },
    {
      name: 'cordoned, tolerated',
      pod: pod('a', { tolerations: [{ operator: 'Exists' }] }),
      node: node('n', { spec: { unschedulable: true } }),
      expected: [],
    },
    {
      name: 'not ready',
      pod: pod('a'),
      node: node('n', { ready: 'Unknown' }),
      expected: ['node(s) had untolerated taint(s)'],
    },
    {
      name: 'tainted',
      pod: pod('a', { tolerations: [{ key: 'gpu', operator: 'Equal', value: 'no' }] }),
      node: node('n', { spec: { taints: [{ key: 'gpu', value: 'yes', effect: 'NoSchedule' }] } }),
      expected: ['node(s) had untolerated taint(s)'],
    },
    {
      name: 'taint tolerated by key',
      pod: pod('a', { tolerations: [{ key: 'gpu', operator: 'Exists', effect: 'NoSchedule' }] }),
      node: node('n', { spec: { taints: [{ key: 'gpu', value: 'yes', effect: 'NoSchedule' }] } }),
      expected: [],
    },
    {
      name: 'preferring taints reject nobody',
      pod: pod('a'),
      node: node('n', { spec: { taints: [{ key: 'x', effect: 'PreferNoSchedule' }] } }),
      expected: [],
    },
    { name: 'node selector', pod: pod('a', { nodeSelector: { disk: 'ssd' } }), expected: mismatch },
    {
      name: 'node selector met',
      pod: pod('a', { nodeSelector: { disk: 'ssd' } }),
      node: node('n', { labels: { disk: 'ssd' } }),
      expected: [],
    },
    {
      name: 'affinity In',
      pod: pod('a', requiring('zone', 'In', ['a', 'b'])),
      node: node('n', { labels: { zone: 'b' } }),
      expected: [],
    },
    {
      name: 'affinity NotIn',
      pod: pod('a', requiring('zone', 'NotIn', ['b'])),
      node: node('n', { labels: { zone: 'b' } }),
      expected: mismatch,
    },
    { name: 'affinity Exists', pod: pod('a', requiring('zone', 'Exists')), expected: mismatch },
    { name: 'affinity DoesNotExist', pod: pod('a', requiring('zone', 'DoesNotExist')), expected: [] },
    {
      name: 'affinity Gt',
      pod: pod('a', requiring('cores', 'Gt', ['4'])),
      node: node('n', { labels: { cores: '8' } }),
      expected: [],
    },
    {
      name: 'affinity Lt',
      pod: pod('a', requiring('cores', 'Lt', ['4'])),
      node: node('n', { labels: { cores: '8' } }),
      expected: mismatch,
    },
    {
      name: 'cpu',
      pod: pod('a', asking({ cpu: '600m' })),
      others: [pod('b', asking({ cpu: '0.5' }))],
      expected: ['Insufficient cpu'],
    },
    {
      name: 'cpu to the last',
      pod: pod('a', asking({ cpu: '500m' })),
      others: [pod('b', asking({ cpu: '0.5' }))],
      expected: [],
    },
    {
      name: 'memory and cpu',
      pod: pod('a', asking({ cpu: '2', memory: '2Gi' })),
      expected: ['Insufficient cpu', 'Insufficient memory'],
    },
    {
      name: 'a resource the node has not',
      pod: pod('a', asking({ 'nvidia.com/gpu': '1' })),
      expected: ['Insufficient nvidia.com/gpu'],
    },
    { name: 'pods', pod: pod('a'), others: [pod('b'), pod('c'), pod('d')], expected: ['Too many pods'] },
    {
      name: 'host port',
      pod: pod('a', listening(80)),
      others: [pod('b', listening(80, '127.0.0.1'))],
      expected: ["node(s) didn't have free ports for the requested pod ports"],
    },
    {
      name: 'host port on another address',
      pod: pod('a', listening(80, '127.0.0.2')),
      others: [pod('b', listening(80, '127.0.0.1'))],
      expected: [],
    },
  ]
  for (const { name, pod: wanting, node: on = node('n'), others = [], expected } of cases) {
    void it(name, () => {
      const rejections = rejectionsOf(wanting, viewNode(on, others))
      assert.deepEqual(
        rejections.map(({ reason }) => reason),
        expected,
      )
    })
  }
})

void describe('describeRejections', () => {
  for (const [rejections, message] of [
    [[], 'no nodes available to schedule pods'],
    [[['Insufficient cpu']], '0/1 nodes are available: 1 Insufficient cpu.'],
    [
      [['Insufficient cpu', 'Insufficient memory'], ['Insufficient cpu'], ['node(s) were unschedulable']],
      '0/3 nodes are available: 1 Insufficient memory, 1 node(s) were unschedulable, 2 Insufficient cpu.',
    ],
  ] as const) {
    void it(message, () => assert.equal(describeRejections(rejections), message))
  }
})

void describe('requestsOf', () => {
  const container = (cpu: string, restartPolicy?: string) => ({
    name: cpu,
    restartPolicy,
    resources: { requests: { cpu } },
  })

  void it('takes the most an init container needs, or all containers together', () => {
    assert.equal(
      requestsOf(pod('a', { containers: [container('1'), container('2')], initContainers: [container('5')] })).get(
        'cpu',
      ),
      5000,
    )
    assert.equal(
      requestsOf(pod('a', { containers: [container('1'), container('2')], initContainers: [container('2')] })).get(
        'cpu',
      ),
      3000,
    )
  })

  void it('adds sidecars to what starts after them, and overhead to all', () => {
    const spec = {
      containers: [container('1')],
      initContainers: [container('1', 'Always'), container('3')],
      overhead: { cpu: '100m' },
    }
    assert.equal(requestsOf(pod('a', spec)).get('cpu'), 4100)
  })

  void it('takes the more of what a container has and what it asks for, unless that is refused', () => {
    const containerStatuses = [
      { name: '1', image: '', imageID: '', ready: true, restartCount: 0, allocatedResources: { cpu: '3' } },
    ]
    const shrinking = { ...pod('a', { containers: [container('1')] }), status: { containerStatuses } }
    assert.equal(requestsOf(shrinking).get('cpu'), 3000)
    const growing = { ...shrinking, ...pod('a', { containers: [{ ...container('8'), name: '1' }] }) }
    assert.equal(requestsOf(growing).get('cpu'), 8000)
    const conditions = [{ type: 'PodResizePending', status: 'True', reason: 'Infeasible' }]
    assert.equal(requestsOf({ ...growing, status: { containerStatuses, conditions } }).get('cpu'), 3000)
  })

  void it('reads a limit as request when there is none', () => {
    const spec = {
      containers: [{ name: 'a', resources: { limits: { cpu: '2', memory: '1k' }, requests: { cpu: '1' } } }],
    }
    assert.deepEqual(
      [...requestsOf(pod('a', spec))],
      [
        ['cpu', 1000],
        ['memory', 1e6],
      ],
    )
  })
})

void describe('choose', () => {
  const nameOf = (wanting: Pod, ...views: ReturnType<typeof viewNode>[]): string | undefined =>
    choose(wanting, views)?.node.metadata?.name

  void it('prefers the emptier node', () => {
    assert.equal(
      nameOf(pod('x'), viewNode(node('a'), [pod('b', asking({ cpu: '500m' }))]), viewNode(node('c'), [])),
      'c',
    )
  })

  void it('spreads replicas of one controller', () => {
    const views = [
      viewNode(node('a'), [pod('b', {}, 'web')]),
      viewNode(node('c'), [pod('d', {}, 'other'), pod('e', {}, 'other')]),
    ]
    assert.equal(nameOf(pod('x', {}, 'web'), ...views), 'c')
  })

  void it('follows preferred affinity', () => {
    const preference = { matchExpressions: [{ key: 'zone', operator: 'In', values: ['b'] }] }
    const affinity = { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 10, preference }] } }
    const views = [viewNode(node('a'), []), viewNode(node('b', { labels: { zone: 'b' } }), [])]
    assert.equal(nameOf(pod('x', { affinity }), ...views), 'b')
  })

  void it('has nothing to choose from no nodes', () => assert.equal(choose(pod('x'), []), undefined))
})
