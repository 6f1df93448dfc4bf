import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { randomUuid } from './ids.ts'

describe('randomUuid', () => {
  it('gives version 4 UUIDs, none twice, over several pages', () => {
    const ids = Array.from({ length: 2000 }, randomUuid)
    for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    assert.equal(new Set(ids).size, ids.length)
  })
})
