import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Node, Pod } from '@fairlead/kube/types/core-v1'

import { isAlike, mayHelp } from './cluster-event.ts'
import type { ClusterEvent } from './cluster-event.ts'
import type { FilterName } from './rejection.ts'

interface Change {
  readonly cpu?: string
  readonly labels?: Record<string, string>
  readonly spec?: Node['spec']
  readonly ready?: string
}

function node({ cpu = '4', labels = {}, spec = {}, ready = 'True' }: Change = {}): Node {
  return {
    metadata: { name: 'n', labels },
    spec,
    status: { allocatable: { cpu }, conditions: [{ type: 'Ready', status: ready, lastHeartbeatTime: cpu }] },
  }
}

function pod(spec: Partial<NonNullable<Pod['spec']>> = {}, app = 'web'): Pod {
  return { metadata: { name: 'p', namespace: 'default', labels: { app } }, spec: { containers: [], ...spec } }
}

const asking = (cpu: string): Partial<NonNullable<Pod['spec']>> => ({
  containers: [{ name: 'c', resources: { requests: { cpu } } }],
})
const listening = (hostPort: number): Partial<NonNullable<Pod['spec']>> => ({
  containers: [{ name: 'c', ports: [{ containerPort: 80, hostPort }] }],
})
const spreading: Partial<NonNullable<Pod['spec']>> = {
  topologySpreadConstraints: [
    {
      maxSkew: 1,
      topologyKey: 'zone',
      whenUnsatisfiable: 'DoNotSchedule',
      labelSelector: { matchLabels: { app: 'web' } },
    },
  ],
}
const near: Partial<NonNullable<Pod['spec']>> = {
  affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'zone' }] } },
}
const taint = { key: 'a', effect: 'NoSchedule' }
const changed = (now: Change, before?: Change): ClusterEvent => ({
  kind: 'node',
  node: node(now),
  old: before && node(before),
})
const left = (other: Pod): ClusterEvent => ({ kind: 'pod-left', pod: other })
const placed = (other: Pod): ClusterEvent => ({ kind: 'pod-placed', pod: other })

describe('mayHelp', () => {
  const rows: { name: string; filter: FilterName; pod?: Pod; event: ClusterEvent; expected: boolean }[] = [
    { name: 'room that is left', filter: 'NodeResourcesFit', event: left(pod()), expected: true },
    { name: 'room that is taken', filter: 'NodeResourcesFit', event: placed(pod()), expected: false },
    {
      name: 'a new node that is too small',
      filter: 'NodeResourcesFit',
      pod: pod(asking('8')),
      event: changed({}),
      expected: false,
    },
    { name: 'a new node', filter: 'NodeResourcesFit', pod: pod(asking('2')), event: changed({}), expected: true },
    {
      name: 'a node that grew',
      filter: 'NodeResourcesFit',
      pod: pod(asking('2')),
      event: changed({}, { cpu: '1' }),
      expected: true,
    },
    {
      name: 'a node with other labels, for room',
      filter: 'NodeResourcesFit',
      pod: pod(asking('2')),
      event: changed({ labels: { a: 'b' } }, {}),
      expected: false,
    },
    {
      name: 'a label that is asked for',
      filter: 'NodeAffinity',
      pod: pod({ nodeSelector: { disk: 'fast' } }),
      event: changed({ labels: { disk: 'fast' } }, {}),
      expected: true,
    },
    {
      name: 'another label',
      filter: 'NodeAffinity',
      pod: pod({ nodeSelector: { disk: 'fast' } }),
      event: changed({ labels: { disk: 'slow' } }, {}),
      expected: false,
    },
    {
      name: 'a taint that is gone',
      filter: 'TaintToleration',
      event: changed({}, { spec: { taints: [taint] } }),
      expected: true,
    },
    {
      name: 'a taint that is new',
      filter: 'TaintToleration',
      event: changed({ spec: { taints: [taint] } }, {}),
      expected: false,
    },
    { name: 'a node that is ready', filter: 'TaintToleration', event: changed({}, { ready: 'False' }), expected: true },
    {
      name: 'a node that was uncordoned',
      filter: 'NodeUnschedulable',
      event: changed({}, { spec: { unschedulable: true } }),
      expected: true,
    },
    {
      name: 'a port that is free',
      filter: 'NodePorts',
      pod: pod(listening(80)),
      event: left(pod(listening(80))),
      expected: true,
    },
    {
      name: 'another port',
      filter: 'NodePorts',
      pod: pod(listening(80)),
      event: left(pod(listening(81))),
      expected: false,
    },
    { name: 'a claim', filter: 'VolumeBinding', event: { kind: 'volumes' }, expected: true },
    { name: 'a claim, for room', filter: 'NodeResourcesFit', event: { kind: 'volumes' }, expected: false },
    {
      name: 'a pod that is counted',
      filter: 'PodTopologySpread',
      pod: pod(spreading),
      event: placed(pod()),
      expected: true,
    },
    {
      name: 'a pod that is not counted',
      filter: 'PodTopologySpread',
      pod: pod(spreading),
      event: placed(pod({}, 'db')),
      expected: false,
    },
    {
      name: 'a zone that is gone',
      filter: 'PodTopologySpread',
      pod: pod(spreading),
      event: { kind: 'node-gone' },
      expected: true,
    },
    { name: 'a pod to be near', filter: 'InterPodAffinity', pod: pod(near), event: placed(pod()), expected: true },
    { name: 'a pod that kept it away', filter: 'InterPodAffinity', event: left(pod()), expected: true },
    { name: 'a namespace', filter: 'InterPodAffinity', pod: pod(near), event: { kind: 'namespace' }, expected: true },
  ]
  for (const { name, filter, pod: waiting = pod(), event, expected } of rows) {
    it(`${name}: ${expected ? 'yes' : 'no'} (${filter})`, () =>
      assert.equal(mayHelp(event, waiting, new Set([filter])), expected))
  }

  it('is anything where there was no node', () => assert.ok(mayHelp({ kind: 'volumes' }, pod(), new Set())))
})

describe('isAlike', () => {
  it('does not care for heartbeats', () => {
    const [now, before] = [node(), node()]
    const beat = {
      ...now,
      status: { ...now.status, conditions: [{ type: 'Ready', status: 'True', lastHeartbeatTime: 'x' }] },
    }
    assert.ok(isAlike(beat, before))
    assert.ok(!isAlike(node({ ready: 'False' }), before))
    assert.ok(!isAlike(node({ labels: { a: 'b' } }), before))
  })
})
