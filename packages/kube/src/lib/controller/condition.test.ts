import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { setCondition } from './condition.ts'

describe('setCondition', () => {
  const t0 = 0
  const t1 = 60_000
  const ready = { type: 'Ready', status: 'False', reason: 'Starting', message: '' }
  const first = setCondition(undefined, ready, t0)

  it('adds a condition with its transition time', () => {
    assert.deepEqual(first, [{ ...ready, lastTransitionTime: '1970-01-01T00:00:00Z' }])
  })

  it('returns the same list when nothing changed', () => {
    assert.equal(setCondition(first, ready, t1), first)
  })

  it('keeps the transition time while the status stays', () => {
    const next = setCondition(first, { ...ready, reason: 'Slow' }, t1)
    assert.deepEqual(next, [{ ...ready, reason: 'Slow', lastTransitionTime: '1970-01-01T00:00:00Z' }])
  })

  it('moves the transition time with the status', () => {
    const next = setCondition(first, { ...ready, status: 'True' }, t1)
    assert.deepEqual(next, [{ ...ready, status: 'True', lastTransitionTime: '1970-01-01T00:01:00Z' }])
  })
})
