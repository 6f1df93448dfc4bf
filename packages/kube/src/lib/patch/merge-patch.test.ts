import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { applyMergePatch, createMergePatch } from '../../patch.ts'

describe('applyMergePatch', () => {
  // RFC 7386, appendix A.
  const cases: [unknown, unknown, unknown][] = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ]
  for (const [document, patch, expected] of cases) {
    it(`${JSON.stringify(document)} with ${JSON.stringify(patch)}`, () => {
      const before = JSON.stringify(document)
      assert.deepEqual(applyMergePatch(document, patch), expected)
      assert.equal(JSON.stringify(document), before)
    })
  }
})

describe('createMergePatch', () => {
  const cases: [unknown, unknown, unknown][] = [
    [
      { a: 1, b: { c: 2, d: 3 } },
      { b: { c: 2, d: 4 }, e: [1] },
      { a: null, b: { d: 4 }, e: [1] },
    ],
    [{ a: { b: 1 } }, { a: { b: 1 } }, {}],
    [{ a: [1, 2] }, { a: [2, 1] }, { a: [2, 1] }],
    [{ a: { b: 1 } }, { a: 'text' }, { a: 'text' }],
  ]
  for (const [from, to, expected] of cases) {
    it(`${JSON.stringify(from)} to ${JSON.stringify(to)}`, () => {
      const patch = createMergePatch(from, to)
      assert.deepEqual(patch, expected)
      assert.deepEqual(applyMergePatch(from, patch), to)
    })
  }
})
