import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Pod } from '@fairlead/kube/types/core-v1'

import { rankForEviction } from './rank.ts'

const GI = 2 ** 30
const pod = (name: string, amount: string, priority = 0): Pod => ({
  metadata: { name },
  spec: {
    priority,
    containers: [{ name: 'main', resources: { requests: { memory: amount, 'ephemeral-storage': amount } } }],
  },
})
const uses = [
  { name: 'modest', request: '1Gi', bytes: GI / 2 },
  { name: 'important', request: '0', priority: 1000, bytes: 9 * GI },
  { name: 'critical', request: '0', priority: 2_000_000_000, bytes: 9 * GI },
  { name: 'little', request: '0', bytes: GI },
  { name: 'much', request: '1Gi', bytes: 3 * GI },
]

describe('rankForEviction', () => {
  for (const shortage of ['memory', 'disk'] as const) {
    it(`takes who uses more ${shortage} than it asked for, then the less important, then who is furthest beyond`, () => {
      const ranked = rankForEviction(
        uses.map(({ name, request, priority, bytes }) => ({
          pod: pod(name, request, priority),
          memoryBytes: shortage === 'memory' ? bytes : 0,
          diskBytes: shortage === 'disk' ? bytes : 0,
        })),
        shortage,
      )
      assert.deepEqual(
        ranked.map((use) => use.pod.metadata?.name),
        ['much', 'little', 'important', 'modest'],
      )
    })
  }

  it('takes pods first of whose disk nothing is known', () => {
    const ranked = rankForEviction(
      [
        { pod: pod('much', '0'), memoryBytes: 0, diskBytes: GI },
        { pod: pod('unknown', '0'), memoryBytes: 0 },
        { pod: pod('unknown-too', '0'), memoryBytes: 0 },
      ],
      'disk',
    )
    assert.deepEqual(
      ranked.map((use) => use.pod.metadata?.name),
      ['unknown', 'unknown-too', 'much'],
    )
  })
})
