import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { inSlices } from './pieces.ts'

describe('inSlices', () => {
  for (const { name, sizes, slices } of [
    { name: 'nothing', sizes: [], slices: [] },
    { name: 'one piece', sizes: [10], slices: [10] },
    { name: 'pieces that fit', sizes: [1, 2, 3], slices: [6] },
    { name: 'a piece of a megabyte', sizes: [1 << 20, 1], slices: [1 << 20, 1] },
    { name: 'pieces that do not fit', sizes: [700_000, 700_000, 5, 1 << 20], slices: [1_400_000, (1 << 20) + 5] },
  ]) {
    it(`of ${name}: every byte in order`, () => {
      const pieces = sizes.map((size, index) => Buffer.alloc(size, 97 + index))
      const found = [...inSlices(pieces)]
      assert.deepEqual(
        found.map((slice) => slice.length),
        slices,
      )
      assert.ok(Buffer.concat(found).equals(Buffer.concat(pieces)))
    })
  }

  it('does not copy a piece that stands alone', () => {
    const piece = Buffer.alloc(2 << 20)
    assert.equal([...inSlices([piece])][0], piece)
  })
})
