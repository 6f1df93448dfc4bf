import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Node, Pod } from '@fairlead/kube/types/core-v1'

import { viewNode } from './node-view.ts'
import { Snapshot } from './snapshot.ts'

const node = (name: string): Node => ({ metadata: { name }, status: { allocatable: { cpu: '4', memory: '8Gi' } } })

function pod(name: string, cpu: string, more: Partial<NonNullable<Pod['spec']>> = {}): Pod {
  const ports = [{ containerPort: 80, hostPort: 8000 + name.length }]
  const ownerReferences = [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'rs', uid: 'rs', controller: true }]
  return {
    metadata: { name, namespace: 'default', uid: name, ownerReferences },
    spec: { containers: [{ name: 'app', ports, resources: { requests: { cpu } } }], ...more },
  }
}

describe('Snapshot', () => {
  it('counts the same whichever way pods came and went', () => {
    const snapshot = new Snapshot()
    snapshot.setNode(node('a'))
    const podAffinity = {}
    const pods = [pod('a', '1'), pod('bb', '2', { affinity: { podAffinity } }), pod('ccc', '500m')]
    for (const each of pods) snapshot.place(each, 'a')
    snapshot.place(pod('bb', '1', { affinity: { podAffinity } }), 'a')
    snapshot.leave(pod('a', '7'))
    snapshot.leave(pod('never', '1'))
    const [view] = snapshot.views
    assert.ok(view)
    const fresh = viewNode(node('a'), [...view.pods])
    assert.deepEqual(view.used.get('cpu'), 1500)
    for (const key of ['scored', 'hostPorts'] as const) assert.deepEqual(view[key], fresh[key])
    assert.deepEqual(view.relatedPods.size, 1)
    assert.equal(view.replicas.get('rs'), 2)
  })

  it('finds a pod on a node it hears of later, and follows one that moves to another version of the node', () => {
    const snapshot = new Snapshot()
    snapshot.place(pod('a', '1'), 'late')
    assert.equal(snapshot.views.length, 0)
    snapshot.setNode(node('late'))
    assert.equal(snapshot.views[0]?.pods.size, 1)
    snapshot.setNode({ metadata: { name: 'late' }, status: { allocatable: { cpu: '8' } } })
    assert.equal(snapshot.views[0]?.allocatable.get('cpu'), 8000)
    assert.equal(snapshot.views[0]?.pods.size, 1)
    snapshot.removeNode('late')
    assert.equal(snapshot.views.length, 0)
  })

  it('knows who is expected where, and who gives way', () => {
    const snapshot = new Snapshot()
    const [low, high] = [pod('low', '1', { priority: 1 }), pod('high', '1', { priority: 2 })]
    snapshot.nominate(low, 'a')
    assert.equal(snapshot.nominationOf(low), 'a')
    assert.deepEqual(snapshot.nominatedOn('a'), [low])
    assert.deepEqual(snapshot.outranked(high, 'a'), [low])
    assert.deepEqual(snapshot.outranked(low, 'a'), [])
    snapshot.nominate(low, '')
    assert.deepEqual(snapshot.nominatedOn('a'), [])
  })
})
