import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { defaultThresholds } from './eviction/thresholds.ts'
import { renderAllocatable, renderCapacity } from './node-amounts.ts'

const MI = 2 ** 20
const GI = 2 ** 30
const machine = { cpus: 2, memoryBytes: 4 * GI, diskBytes: 100 * GI }
const promise = { maxPods: 110, nodesOfMachine: 1, thresholds: defaultThresholds }

describe('renderCapacity', () => {
  it('is all of the machine, whoever shares it', () => {
    assert.deepEqual(renderCapacity(machine, { ...promise, nodesOfMachine: 3 }), {
      cpu: '2',
      memory: '4194304Ki',
      'ephemeral-storage': '104857600Ki',
      pods: '110',
    })
  })
})

describe('renderAllocatable', () => {
  it('leaves out what eviction keeps free', () => {
    assert.deepEqual(renderAllocatable(machine, promise), {
      cpu: '2',
      memory: `${(4 * GI - 100 * MI) / 1024}Ki`,
      'ephemeral-storage': `${(99 * GI) / 1024}Ki`,
      pods: '110',
    })
  })

  it('is an equal part for each node of a machine, and counts no soft threshold', () => {
    const soft = [{ signal: 'memory.available', least: { quantity: GI }, graceMs: 1000 }] as const
    assert.deepEqual(renderAllocatable(machine, { ...promise, nodesOfMachine: 4, thresholds: soft }), {
      cpu: '500m',
      memory: '1048576Ki',
      'ephemeral-storage': '26214400Ki',
      pods: '110',
    })
  })
})
