import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { observe } from './left.ts'
import type { Left } from './left.ts'
import { defaultThresholds, findMet, renderBytes } from './thresholds.ts'

const GI = 2 ** 30
const plenty: Left = { memoryBytes: GI, diskBytes: 10 * GI, diskTotalBytes: 20 * GI, inodes: 50, inodesTotal: 100 }

describe('findMet', () => {
  const cases: readonly { name: string; left: Partial<Left>; met: string[] }[] = [
    { name: 'finds nothing where there is plenty', left: {}, met: [] },
    { name: 'finds too little memory', left: { memoryBytes: 99 * 2 ** 20 }, met: ['memory.available'] },
    {
      name: 'finds a disk with less than a gibibyte, which images lie on as well',
      left: { diskBytes: GI - 1 },
      met: ['nodefs.available', 'imagefs.available'],
    },
    { name: 'is content with a share of a small disk', left: { diskBytes: GI / 2, diskTotalBytes: 2 * GI }, met: [] },
    { name: 'finds too few inodes', left: { inodes: 4 }, met: ['nodefs.inodesFree', 'imagefs.inodesFree'] },
    { name: 'asks no file system that counts none', left: { inodes: 0, inodesTotal: 0 }, met: [] },
    {
      name: 'looks at the disk of images by itself',
      left: { images: { diskBytes: 5, diskTotalBytes: 10 * GI } },
      met: ['imagefs.available'],
    },
  ]
  for (const { name, left, met } of cases) {
    it(name, () => {
      const found = findMet(defaultThresholds, observe({ ...plenty, ...left }), { withReclaim: false })
      assert.deepEqual(
        found.map(({ signal }) => signal),
        met,
      )
    })
  }

  it('wants what is to be won back when asked for it', () => {
    const threshold = { signal: 'nodefs.available', least: { quantity: GI }, reclaim: { share: 0.5 } } as const
    const seen = observe(plenty)
    assert.deepEqual(findMet([threshold], seen, { withReclaim: false }), [])
    assert.deepEqual(findMet([threshold], seen, { withReclaim: true }), [threshold])
  })
})

describe('renderBytes', () => {
  const cases = [
    { bytes: 0, text: '0' },
    { bytes: 1000, text: '1000' },
    { bytes: 104_857_600, text: '100Mi' },
    { bytes: 52_465_664, text: '51236Ki' },
  ]
  for (const { bytes, text } of cases) it(`writes ${bytes} as "${text}"`, () => assert.equal(renderBytes(bytes), text))
})
