import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Node, Pod } from '@fairlead/kube/types/core-v1'

import { rejectPod, rejectUnderPressure } from './admission.ts'

const node: Node = {
  metadata: { name: 'n1', labels: { disk: 'ssd' } },
  status: { allocatable: { cpu: '2', memory: '1Gi', pods: '3' } },
}

function pod(change: Partial<NonNullable<Pod['spec']>> = {}, status: Pod['status'] = { phase: 'Running' }): Pod {
  return { metadata: { name: 'p' }, spec: { containers: [{ name: 'app' }], ...change }, status }
}

function withPort(hostPort: number, hostIP?: string, protocol?: string): Partial<NonNullable<Pod['spec']>> {
  const port = { containerPort: 80, hostPort, ...(hostIP && { hostIP }), ...(protocol && { protocol }) }
  return { containers: [{ name: 'app', ports: [port] }] }
}

function asking(requests: Record<string, string>): Partial<NonNullable<Pod['spec']>> {
  return { containers: [{ name: 'app', resources: { requests } }] }
}

const noPorts = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"

void describe('rejectPod', () => {
  const cases: readonly { name: string; pod: Pod; others?: readonly Pod[]; expected?: readonly [string, string] }[] = [
    { name: 'has room', pod: pod(), others: [pod()] },
    { name: 'wants a free port', pod: pod(withPort(80)), others: [pod(withPort(81))] },
    {
      name: 'wants a port of another',
      pod: pod(withPort(80)),
      others: [pod(withPort(80))],
      expected: ['NodePorts', noPorts],
    },
    {
      name: 'wants a port at another address',
      pod: pod(withPort(80, '127.0.0.1')),
      others: [pod(withPort(80, '10.0.0.1'))],
    },
    { name: 'wants a port of another protocol', pod: pod(withPort(80, '', 'UDP')), others: [pod(withPort(80))] },
    {
      name: 'wants the port of one that has ended',
      pod: pod(withPort(80)),
      others: [pod(withPort(80), { phase: 'Failed' })],
    },
    {
      name: 'asks for more CPU than is left',
      pod: pod(asking({ cpu: '1500m' })),
      others: [pod(asking({ cpu: '600m' }))],
      expected: ['OutOfcpu', "Node didn't have enough resource: cpu, requested: 1500, used: 600, capacity: 2000"],
    },
    {
      name: 'asks for more memory than there is',
      pod: pod(asking({ memory: '2Gi' })),
      expected: [
        'OutOfmemory',
        "Node didn't have enough resource: memory, requested: 2147483648, used: 0, capacity: 1073741824",
      ],
    },
    {
      name: 'is one too many',
      pod: pod(),
      others: [pod(), pod(), pod()],
      expected: ['OutOfpods', "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"],
    },
    { name: 'asks for what the node does not know', pod: pod(asking({ 'example.com/gpu': '1' })) },
    { name: 'selects the node', pod: pod({ nodeSelector: { disk: 'ssd' } }) },
    {
      name: 'selects other nodes',
      pod: pod({ nodeSelector: { disk: 'hdd' } }),
      expected: ['NodeAffinity', "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"],
    },
  ]
  for (const { name, pod: subject, others = [], expected } of cases) {
    void it(`${expected ? 'rejects' : 'admits'} a pod that ${name}`, () => {
      const rejection = rejectPod(subject, others, node)
      assert.deepEqual(rejection && [rejection.reason, rejection.message], expected)
    })
  }
})

describe('rejectUnderPressure', () => {
  const bare: Pod = { spec: { containers: [{ name: 'main' }] } }
  const asking: Pod = { spec: { containers: [{ name: 'main', resources: { requests: { memory: '1Mi' } } }] } }
  const critical: Pod = { spec: { containers: [{ name: 'main' }], priority: 2_000_000_000 } }
  const tolerant: Pod = {
    spec: {
      containers: [{ name: 'main' }],
      tolerations: [{ key: 'node.kubernetes.io/memory-pressure', operator: 'Exists' }],
    },
  }
  const cases = [
    { name: 'takes all where nothing lacks', pod: bare, pressure: { memory: false, disk: false }, why: undefined },
    {
      name: 'takes no BestEffort pods without memory',
      pod: bare,
      pressure: { memory: true, disk: false },
      why: '[MemoryPressure]',
    },
    { name: 'takes others', pod: asking, pressure: { memory: true, disk: false }, why: undefined },
    { name: 'takes those that tolerate it', pod: tolerant, pressure: { memory: true, disk: false }, why: undefined },
    { name: 'takes none without disk', pod: asking, pressure: { memory: false, disk: true }, why: '[DiskPressure]' },
    {
      name: 'names all it lacks',
      pod: tolerant,
      pressure: { memory: true, disk: true },
      why: '[MemoryPressure DiskPressure]',
    },
    { name: 'takes critical ones always', pod: critical, pressure: { memory: true, disk: true }, why: undefined },
  ]
  for (const { name, pod, pressure, why } of cases) {
    it(name, () => {
      const expected = why && { reason: 'Evicted', message: `The node had condition: ${why}. ` }
      assert.deepEqual(rejectUnderPressure(pod, pressure), expected)
    })
  }
})
