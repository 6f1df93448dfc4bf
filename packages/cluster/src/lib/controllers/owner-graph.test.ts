import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { createOwnerGraph, decideCollection } from './owner-graph.ts'
import type { OwnerState } from './owner-graph.ts'

describe('decideCollection', () => {
  const owner = (uid: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', name: uid, uid })
  const node = (owners: string[], finalizers: string[] = []) => ({
    uid: 'x',
    apiVersion: 'v1',
    kind: 'Pod',
    namespace: 'a',
    name: 'x',
    resourceVersion: '1',
    owners: owners.map(owner),
    finalizers,
    isDeleting: false,
  })
  const cases: {
    name: string
    states: Record<string, OwnerState>
    finalizers?: string[]
    dependents?: number
    expected: object
  }[] = [
    { name: 'keeps what nobody owns', states: {}, expected: { act: 'keep' } },
    { name: 'keeps what has an owner', states: { a: 'solid' }, expected: { act: 'keep' } },
    {
      name: 'drops owners that are gone while one is left',
      states: { a: 'solid', b: 'absent', c: 'waiting' },
      expected: { act: 'disown', uids: ['b', 'c'] },
    },
    {
      name: 'deletes what all owners have left',
      states: { a: 'absent', b: 'absent' },
      expected: { act: 'delete', propagationPolicy: 'Background' },
    },
    {
      name: 'deletes what an owner waits for',
      states: { a: 'waiting' },
      expected: { act: 'delete', propagationPolicy: 'Background' },
    },
    {
      name: 'passes waiting on',
      states: { a: 'waiting' },
      dependents: 1,
      expected: { act: 'delete', propagationPolicy: 'Foreground' },
    },
    {
      name: 'keeps to the object’s own finalizer',
      states: { a: 'absent' },
      finalizers: ['orphan'],
      expected: { act: 'delete', propagationPolicy: 'Orphan' },
    },
  ]
  for (const { name, states, finalizers, dependents = 0, expected } of cases) {
    it(name, () => {
      const decision = decideCollection(
        node(Object.keys(states), finalizers),
        ({ uid }) => states[uid] ?? 'solid',
        Array.from({ length: dependents }, () => node([])),
      )
      assert.deepEqual(decision, expected)
    })
  }
})

describe('createOwnerGraph', () => {
  const object = (uid: string, owner?: string, deleting: string[] = []) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      uid,
      name: uid,
      namespace: 'a',
      ownerReferences: owner === undefined ? [] : [{ apiVersion: 'v1', kind: 'Pod', name: owner, uid: owner }],
      ...(deleting.length > 0 && { finalizers: deleting, deletionTimestamp: '2026-01-01T00:00:00Z' }),
    },
  })

  it('asks for a look at objects whose owner is unknown, and at dependents of one that goes', () => {
    const graph = createOwnerGraph()
    assert.deepEqual(graph.put(object('child', 'parent')), ['child'])
    assert.deepEqual(graph.put(object('parent')), [])
    assert.deepEqual(graph.put(object('second', 'parent')), [])
    assert.deepEqual(graph.remove('parent'), ['child', 'second'])
    assert.equal(graph.isAbsent('parent'), true)
    assert.deepEqual(graph.remove('child'), ['parent'])
    assert.deepEqual(
      graph.dependentsOf('parent').map(({ uid }) => uid),
      ['second'],
    )
  })

  it('asks for a look at an owner that waits, and at all it waits for', () => {
    const graph = createOwnerGraph()
    graph.put(object('parent'))
    graph.put(object('child', 'parent'))
    assert.deepEqual(graph.put(object('parent', undefined, ['foregroundDeletion'])), ['parent', 'child'])
  })

  it('asks for a look at a former owner', () => {
    const graph = createOwnerGraph()
    graph.put(object('parent'))
    graph.put(object('child', 'parent'))
    assert.deepEqual(graph.put(object('child')), ['parent'])
  })
})
