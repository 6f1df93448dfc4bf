import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Node, Pod, Taint, Toleration } from '@fairlead/kube/types/core-v1'

import { decideTaints, isAnyReady, readSign, renderUnknown, silenceLeftMs } from './node-health.ts'
import { nextStep } from './node-ttl.ts'
import { decideGarbage } from './pod-garbage.ts'
import { decidePatience } from './taint-eviction.ts'

const start = Date.parse('2026-05-04T10:00:00Z')

function node(name: string, ready?: string, change: Partial<Node['spec'] & object> = {}): Node {
  const conditions =
    ready === undefined ? [] : [{ type: 'Ready', status: ready, lastHeartbeatTime: '2026-05-04T10:00:00Z' }]
  return {
    metadata: { name, creationTimestamp: '2026-05-04T10:00:00Z' },
    spec: change,
    status: { conditions },
  }
}

void describe('readSign', () => {
  const lease = (renewTime: string): object => ({ spec: { renewTime } })
  const first = readSign(node('a', 'True'), lease('1'), { last: undefined, now: start })

  void it('begins when a node is first seen', () => assert.equal(first.seenAt, start))

  void it('stays while neither heartbeat nor lease moves', () => {
    assert.equal(readSign(node('a', 'True'), lease('1'), { last: first, now: start + 9000 }), first)
  })

  void it('moves with the lease, by this clock', () => {
    assert.equal(readSign(node('a', 'True'), lease('2'), { last: first, now: start + 9000 }).seenAt, start + 9000)
  })

  void it('gives a new node a minute from when it was made, others 50 seconds', () => {
    const silent = readSign(node('a'), undefined, { last: undefined, now: start + 5000 })
    assert.equal(silenceLeftMs(node('a'), silent, start + 5000), 55_000)
    assert.equal(silenceLeftMs(node('a', 'True'), first, start), 50_000)
  })
})

void describe('renderUnknown', () => {
  void it('says it of every condition, once', () => {
    const conditions = renderUnknown(node('a', 'True'), start)
    assert.deepEqual(
      conditions.map(({ type, status, reason }) => `${type} ${status} ${reason}`),
      [
        'Ready Unknown NodeStatusUnknown',
        'MemoryPressure Unknown NodeStatusNeverUpdated',
        'DiskPressure Unknown NodeStatusNeverUpdated',
        'PIDPressure Unknown NodeStatusNeverUpdated',
      ],
    )
    assert.deepEqual(renderUnknown({ ...node('a'), status: { conditions } }, start), [])
  })
})

void describe('decideTaints', () => {
  const timeAdded = '2026-05-04T10:00:00Z'
  const taint = (key: string, effect: string): Taint => ({ key: `node.kubernetes.io/${key}`, effect })
  const foreign = { key: 'gpu', effect: 'NoSchedule' }
  const cases: { name: string; node: Node; mayEvict?: boolean; expected: Taint[] | undefined }[] = [
    { name: 'leaves a ready node alone', node: node('a', 'True', { taints: [foreign] }), expected: undefined },
    {
      name: 'taints one that is not ready, beside the taints of others',
      node: node('a', 'False', { taints: [foreign] }),
      expected: [
        foreign,
        { ...taint('not-ready', 'NoSchedule'), timeAdded },
        { ...taint('not-ready', 'NoExecute'), timeAdded },
      ],
    },
    {
      name: 'changes the taint with the state',
      node: node('a', 'Unknown', { taints: [taint('not-ready', 'NoSchedule'), taint('not-ready', 'NoExecute')] }),
      expected: [
        { ...taint('unreachable', 'NoSchedule'), timeAdded },
        { ...taint('unreachable', 'NoExecute'), timeAdded },
      ],
    },
    {
      name: 'evicts nothing while no node is heard',
      node: node('a', 'Unknown', { taints: [taint('unreachable', 'NoSchedule'), taint('unreachable', 'NoExecute')] }),
      mayEvict: false,
      expected: [taint('unreachable', 'NoSchedule')],
    },
    {
      name: 'takes its taints off a node that is back',
      node: node('a', 'True', { taints: [taint('unreachable', 'NoSchedule'), foreign] }),
      expected: [foreign],
    },
    {
      name: 'taints one that is cordoned',
      node: node('a', 'True', { unschedulable: true }),
      expected: [{ ...taint('unschedulable', 'NoSchedule'), timeAdded }],
    },
    {
      name: 'keeps the time of a taint that stays',
      node: node('a', 'True', {
        unschedulable: true,
        taints: [{ ...taint('unschedulable', 'NoSchedule'), timeAdded: 'x' }],
      }),
      expected: undefined,
    },
  ]
  for (const { name, node: given, mayEvict = true, expected } of cases) {
    void it(name, () => assert.deepEqual(decideTaints(given, { mayEvict, now: start }), expected))
  }
})

void describe('isAnyReady', () => {
  void it('asks those that count', () => {
    const excluded = { ...node('b', 'True'), metadata: { labels: { 'node.kubernetes.io/exclude-disruption': '' } } }
    assert.equal(isAnyReady([node('a', 'Unknown'), excluded]), false)
    assert.equal(isAnyReady([node('a', 'Unknown'), node('c', 'True')]), true)
  })
})

void describe('decidePatience', () => {
  const taints = [
    { key: 'a', effect: 'NoExecute' },
    { key: 'b', effect: 'NoExecute' },
  ]
  const tolerate = (key: string, tolerationSeconds?: number): Toleration => {
    return { key, operator: 'Exists', ...(tolerationSeconds !== undefined && { tolerationSeconds }) }
  }
  const cases: { name: string; tolerations: Toleration[]; expected: number }[] = [
    { name: 'is none for what is not tolerated', tolerations: [tolerate('a')], expected: 0 },
    { name: 'has no end for what is', tolerations: [tolerate('a'), tolerate('b')], expected: Infinity },
    { name: 'is the shortest', tolerations: [tolerate('a', 30), tolerate('b', 20)], expected: 20_000 },
    { name: 'is none below zero', tolerations: [tolerate('a', -1), tolerate('b')], expected: 0 },
    { name: 'is for all when there is no key', tolerations: [{ operator: 'Exists' }], expected: Infinity },
  ]
  for (const { name, tolerations, expected } of cases) {
    void it(name, () => assert.equal(decidePatience({ spec: { containers: [], tolerations } }, taints), expected))
  }
  void it('has no end without taints', () => assert.equal(decidePatience({}, []), Infinity))
})

void describe('decideGarbage', () => {
  const pod = (
    name: string,
    nodeName: string,
    change: { phase?: string; reason?: string; going?: boolean } = {},
  ): Pod => ({
    metadata: {
      name,
      creationTimestamp: `2026-05-04T10:00:0${name.length}Z`,
      ...(change.going === true && { deletionTimestamp: '2026-05-04T11:00:00Z' }),
    },
    spec: { nodeName, containers: [] },
    status: { phase: change.phase ?? 'Running', ...(change.reason !== undefined && { reason: change.reason }) },
  })
  const off = node('off', 'Unknown', { taints: [{ key: 'node.kubernetes.io/out-of-service', effect: 'NoExecute' }] })
  const names = (pods: Pod[], options: { gone?: string[]; keptTerminated?: number } = {}): (string | undefined)[] =>
    decideGarbage(pods, [node('on', 'True'), off], {
      gone: new Set(options.gone),
      keptTerminated: options.keptTerminated ?? 100,
    }).map((garbage) => garbage.pod.metadata?.name)

  void it('is what was on nodes that are gone, and says why', () => {
    assert.deepEqual(names([pod('a', 'lost'), pod('b', 'on')], { gone: ['lost'] }), ['a'])
    const [garbage] = decideGarbage([pod('a', 'lost')], [], { gone: new Set(['lost']), keptTerminated: 1 })
    assert.equal(garbage?.condition?.reason, 'DeletionByPodGC')
  })

  void it('is what is to go and nobody lets go', () => {
    const pods = [pod('a', '', { going: true }), pod('bb', 'off', { going: true }), pod('ccc', 'on', { going: true })]
    assert.deepEqual(names([...pods, pod('dddd', 'off')]), ['a', 'bb'])
  })

  void it('is what ended first, beyond the number kept; evicted ones before others', () => {
    const pods = [
      pod('a', 'on', { phase: 'Succeeded' }),
      pod('bb', 'on', { phase: 'Failed' }),
      pod('ccc', 'on', { phase: 'Failed', reason: 'Evicted' }),
      pod('d', 'on'),
    ]
    assert.deepEqual(names(pods, { keptTerminated: 1 }), ['a', 'ccc'])
  })
})

void describe('nextStep', () => {
  for (const [step, nodes, expected] of [
    [0, 100, 0],
    [0, 101, 1],
    [1, 95, 1],
    [1, 89, 0],
    [0, 5000, 4],
  ] as const) {
    void it(`goes from ${step} to ${expected} with ${nodes} nodes`, () => assert.equal(nextStep(step, nodes), expected))
  }
})
