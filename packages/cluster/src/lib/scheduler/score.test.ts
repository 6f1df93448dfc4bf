import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Node, Pod } from '@fairlead/kube/types/core-v1'

import { viewNode } from './node-view.ts'
import type { NodeView } from './node-view.ts'
import { choose } from './score.ts'

function node(name: string, status: Node['status'] = {}, more: Partial<Node> = {}): Node {
  const conditions = [{ type: 'Ready', status: 'True' }]
  return { metadata: { name }, ...more, status: { allocatable: { cpu: '4', memory: '8Gi' }, conditions, ...status } }
}

function pod(name: string, requests: Record<string, string> = {}, image = 'app:1'): Pod {
  return { metadata: { name, uid: name }, spec: { containers: [{ name: 'app', image, resources: { requests } }] } }
}

const replica = (name: string): Pod => {
  const ownerReferences = [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'rs', uid: 'rs', controller: true }]
  return { ...pod(name), metadata: { name, uid: name, ownerReferences } }
}

const chosen = (wanting: Pod, ...views: NodeView[]): string | undefined => choose(wanting, views)?.name

describe('choose', () => {
  it('balances the use of processors and memory where room is equal', () => {
    // Half of each resource is left on both, all told.
    const busy = viewNode(node('busy'), [pod('a', { cpu: '2', memory: '2Gi' })])
    const filled = viewNode(node('filled'), [pod('b', { cpu: '1', memory: '4Gi' })])
    assert.equal(chosen(pod('x', { cpu: '1', memory: '1Gi' }), busy, filled), 'filled')
    assert.equal(chosen(pod('x', { cpu: '100m', memory: '3Gi' }), busy, filled), 'busy')
  })

  it('prefers a node that has a large image, if not at any price', () => {
    const images = [{ names: ['app:1'], sizeBytes: 900 * 2 ** 20 }]
    assert.equal(chosen(pod('x'), viewNode(node('a'), []), viewNode(node('b', { images }), [])), 'b')
    assert.equal(chosen(pod('x', {}, 'other:1'), viewNode(node('a'), []), viewNode(node('b', { images }), [])), 'a')
    const full = viewNode(node('b', { images }), [pod('p', { cpu: '3900m', memory: '7Gi' })])
    assert.equal(chosen(pod('x'), viewNode(node('a'), []), full), 'a')
  })

  it('keeps off a node with a taint that is a wish', () => {
    const tainted = node('a', {}, { spec: { taints: [{ key: 'k', effect: 'PreferNoSchedule' }] } })
    const [wished, crowded] = [viewNode(tainted, []), viewNode(node('b'), [pod('p', { cpu: '3', memory: '6Gi' })])]
    assert.equal(chosen(pod('x'), wished, crowded), 'b')
    const tolerating = { ...pod('x'), spec: { containers: [], tolerations: [{ operator: 'Exists' }] } }
    assert.equal(chosen(tolerating, wished, crowded), 'a')
  })

  it('spreads replicas over zones first, then over hosts', () => {
    const inZone = (name: string, zone: string): Node => ({
      ...node(name),
      metadata: { name, labels: { 'topology.kubernetes.io/zone': zone } },
    })
    const views = [
      viewNode(inZone('a1', 'a'), [replica('p')]),
      viewNode(inZone('a2', 'a'), []),
      viewNode(inZone('b1', 'b'), []),
    ]
    assert.equal(chosen(replica('x'), ...views), 'b1')
    const later = [...views.slice(0, 2), viewNode(inZone('b1', 'b'), [replica('q')])]
    assert.equal(chosen(replica('x'), ...later), 'a2')
  })

  it('takes the first by name of equal nodes', () => {
    assert.equal(chosen(pod('x'), viewNode(node('b'), []), viewNode(node('a'), [])), 'a')
  })
})
