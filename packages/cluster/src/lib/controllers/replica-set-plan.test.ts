import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Pod } from '@fairlead/kube/types/core-v1'

import { describeReplicaSet, rankForDeletion } from './replica-set-plan.ts'

describe('rankForDeletion', () => {
  const time = (second: number): string => `2026-01-01T00:00:${String(second).padStart(2, '0')}Z`
  interface Facts {
    nodeName?: string
    phase?: string
    readySince?: number
    cost?: string
    restarts?: number
    created?: number
  }
  const pod = (
    name: string,
    { nodeName, phase = 'Running', readySince, cost, restarts = 0, created = 0 }: Facts,
  ): Pod => {
    const ready =
      readySince === undefined ? [] : [{ type: 'Ready', status: 'True', lastTransitionTime: time(readySince) }]
    const annotations: Record<string, string> =
      cost === undefined ? {} : { 'controller.kubernetes.io/pod-deletion-cost': cost }
    return {
      metadata: { name, annotations, creationTimestamp: time(created) },
      spec: { nodeName, containers: [] },
      status: {
        phase,
        conditions: ready,
        containerStatuses: [{ name: 'a', restartCount: restarts, ready: true, image: '', imageID: '' }],
      },
    }
  }
  const cases: { name: string; pods: [Pod, Pod] }[] = [
    { name: 'one without a node', pods: [pod('first', {}), pod('second', { nodeName: 'n' })] },
    {
      name: 'a pending one',
      pods: [pod('first', { nodeName: 'n', phase: 'Pending' }), pod('second', { nodeName: 'n' })],
    },
    {
      name: 'one that is not ready',
      pods: [pod('first', { nodeName: 'n' }), pod('second', { nodeName: 'n', readySince: 1 })],
    },
    {
      name: 'a cheaper one',
      pods: [
        pod('first', { nodeName: 'n', readySince: 1, cost: '-1' }),
        pod('second', { nodeName: 'n', readySince: 2 }),
      ],
    },
    {
      name: 'one ready for a shorter time',
      pods: [pod('first', { nodeName: 'n', readySince: 9 }), pod('second', { nodeName: 'n', readySince: 1 })],
    },
    {
      name: 'one restarted more often',
      pods: [
        pod('first', { nodeName: 'n', readySince: 1, restarts: 3 }),
        pod('second', { nodeName: 'n', readySince: 1 }),
      ],
    },
    {
      name: 'a younger one',
      pods: [
        pod('first', { nodeName: 'n', readySince: 1, created: 5 }),
        pod('second', { nodeName: 'n', readySince: 1 }),
      ],
    },
  ]
  for (const { name, pods } of cases) {
    it(`${name} goes first`, () => {
      const now = Date.parse(time(10))
      assert.equal(rankForDeletion(pods.toReversed(), { now })[0]?.metadata?.name, 'first')
      assert.equal(rankForDeletion(pods, { now })[0]?.metadata?.name, 'first')
    })
  }

  it('takes times of one power of two as equal, and the uid decides', () => {
    const now = Date.parse(time(40))
    const [old, young] = [pod('old', { nodeName: 'n', readySince: 1 }), pod('young', { nodeName: 'n', readySince: 5 })]
    const named = (one: Pod, uid: string): Pod => ({ ...one, metadata: { ...one.metadata, uid } })
    const first = (pods: Pod[]) => rankForDeletion(pods, { now })[0]?.metadata?.name
    assert.equal(first([named(old, 'a'), named(young, 'b')]), 'old')
    assert.equal(first([named(old, 'b'), named(young, 'a')]), 'young')
  })

  it('counts the pods of other replica sets of the deployment', () => {
    const [a, b] = [pod('a', { nodeName: 'a', readySince: 1 }), pod('b', { nodeName: 'b', readySince: 1 })]
    const other = pod('other', { nodeName: 'b', readySince: 1 })
    assert.equal(rankForDeletion([a, b], { related: [a, b, other] })[0]?.metadata?.name, 'b')
  })

  it('one of many on a node goes first', () => {
    const pods = [
      pod('alone', { nodeName: 'a', readySince: 9 }),
      pod('b1', { nodeName: 'b', readySince: 1 }),
      pod('b2', { nodeName: 'b', readySince: 1 }),
    ]
    assert.match(rankForDeletion(pods)[0]?.metadata?.name ?? '', /^b/)
  })
})

describe('describeReplicaSet', () => {
  it('keeps the first failure until pods can be made again', () => {
    const spec = { replicas: 1, selector: {}, template: {} }
    const failed = (message: string) => ({ now: 0, failure: { reason: 'FailedCreate', message } })
    const first = describeReplicaSet({ spec }, [], failed('pods "a" is forbidden'))
    assert.deepEqual(describeReplicaSet({ spec, status: first }, [], failed('pods "b" is forbidden')), first)
    assert.equal(describeReplicaSet({ spec, status: first }, [], { now: 0 }).conditions, undefined)
  })
})
