import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { describeEviction } from './messages.ts'

const pod: Pod = {
  spec: {
    containers: [
      { name: 'modest', resources: { requests: { 'ephemeral-storage': '1Gi' } } },
      { name: 'greedy', resources: { requests: { 'ephemeral-storage': '1Ki' } } },
      { name: 'bare' },
    ],
  },
}

describe('describeEviction', () => {
  it('tells what was short, and which containers took more than they asked for', () => {
    const seen = new Map([['nodefs.available', { available: 512 * 1024, capacity: 10 * 2 ** 30 }]] as const)
    const usage = new Map([
      ['modest', 4096],
      ['greedy', 8192],
      ['bare', 1],
    ])
    assert.equal(
      describeEviction({ signal: 'nodefs.available', least: { share: 0.1 } }, seen, pod, usage),
      'The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 512Ki. ' +
        'Container greedy was using 8Ki, request is 1Ki, has larger consumption of ephemeral-storage. ' +
        'Container bare was using 1, request is 0, has larger consumption of ephemeral-storage. ',
    )
  })

  it('counts inodes as such', () => {
    const seen = new Map([['nodefs.inodesFree', { available: 1024, capacity: 40_960 }]] as const)
    assert.equal(
      describeEviction(
        { signal: 'nodefs.inodesFree', least: { share: 0.05 } },
        seen,
        { spec: { containers: [] } },
        new Map(),
      ),
      'The node was low on resource: inodes. Threshold quantity: 2048, available: 1024. ',
    )
  })
})
