import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { createExpectations } from './expectations.ts'

void describe('createExpectations', () => {
  void it('waits until the cache has shown every write', () => {
    const expectations = createExpectations({ now: () => 0, schedule: () => () => {} })
    expectations.expect('default/web', 'a')
    expectations.expect('default/web', 'b')
    expectations.observe('default/web', 'a')
    assert.notEqual(expectations.leftMs('default/web'), undefined)
    expectations.observe('default/web', 'b')
    assert.equal(expectations.leftMs('default/web'), undefined)
  })

  void it('says how long it waits for what the cache may never show', () => {
    let now = 1000
    const expectations = createExpectations({ now: () => now, schedule: () => () => {} })
    expectations.expect('default/web', 'a')
    assert.equal(expectations.leftMs('default/web'), 30_000)
    now += 30_000
    assert.equal(expectations.leftMs('default/web'), undefined)
  })
})
