import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { findOutlived, isEnough, isShort, planRemoval } from './plan.ts'
import type { PulledImage } from './pulled-images.ts'
import { defaultImageGcSettings } from './settings.ts'

const image = (reference: string, pulledAt: number, usedAt: number): PulledImage => ({
  reference,
  digest: `sha256:${'0'.repeat(64)}`,
  pulledAt,
  usedAt,
})
const images = [image('young', 95, 95), image('recent', 10, 80), image('old', 5, 20), image('used', 0, 1)]
const names = (some: readonly PulledImage[]): string[] => some.map(({ reference }) => reference)

describe('planRemoval', () => {
  it('takes those nobody needed for longest first, and none that is young or in use', () => {
    const plan = planRemoval(images, ({ reference }) => reference === 'used', { minAgeMs: 10, now: 100 })
    assert.deepEqual(names(plan), ['old', 'recent'])
  })
})

describe('findOutlived', () => {
  it('takes those nobody has needed for too long, none where there is no such time', () => {
    assert.deepEqual(names(findOutlived(images, { maxAgeMs: 50 }, 100)), ['old', 'used'])
    assert.deepEqual(findOutlived(images, { maxAgeMs: 0 }, 100), [])
  })
})

describe('isShort, isEnough', () => {
  const GI = 2 ** 30
  const cases = [
    { name: 'a small disk at 85 percent', free: 15, total: 100, short: true, enough: false },
    { name: 'a small disk at 84 percent', free: 16, total: 100, short: false, enough: false },
    { name: 'a small disk at 80 percent', free: 20, total: 100, short: false, enough: true },
    { name: 'a large disk with twelve gibibytes', free: 12 * GI, total: 1000 * GI, short: false, enough: false },
    { name: 'a large disk with ten', free: 10 * GI, total: 1000 * GI, short: true, enough: false },
  ]
  for (const { name, free, total, short, enough } of cases) {
    it(`judges ${name}`, () => {
      const left = { diskBytes: free, diskTotalBytes: total }
      assert.equal(isShort(defaultImageGcSettings, left), short)
      assert.equal(isEnough(defaultImageGcSettings, left), enough)
    })
  }
})
