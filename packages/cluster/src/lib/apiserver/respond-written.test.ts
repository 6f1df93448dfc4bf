import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { warningHeader } from './respond-written.ts'

describe('warningHeader', () => {
  it('has one value for each text, quoted', () => {
    assert.deepEqual(warningHeader(['a', 'b "c"']).warning, ['299 - "a"', '299 - "b \\"c\\""'])
  })

  it('is UTF-8 in characters that a header may have', () => {
    const [value = ''] = warningHeader(['unknown field "größe\x7f 日本"']).warning
    assert.match(value, /^[\x20-\x7e\x80-\xff]*$/)
    assert.equal(Buffer.from(value, 'latin1').toString(), '299 - "unknown field \\"größe 日本\\""')
  })

  it('cuts long texts and leaves out the rest where there would be too much, as kube-apiserver does', () => {
    const long = '€'.repeat(4096)
    assert.equal(warningHeader([long]).warning[0]?.length, 3 * 4096 + '299 - ""'.length)
    const { warning } = warningHeader(Array.from({ length: 1000 }, () => long))
    const cut = `299 - "${'€'.repeat(256)}"`
    assert.deepEqual(
      warning.map((value) => Buffer.from(value, 'latin1').toString()),
      Array.from({ length: 16 }, () => cut),
    )
    assert.equal(warningHeader(Array.from({ length: 1000 }, (_, n) => `field ${n + 1000}`)).warning.length, 410)
  })
})
