import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { duration, firstThree, formatSelector } from './printing.ts'

describe('duration', () => {
  const minute = 60
  const hour = 60 * minute
  const day = 24 * hour
  const cases: [number, string][] = [
    [-5, '<invalid>'],
    [-1, '0s'],
    [0, '0s'],
    [119, '119s'],
    [120, '2m'],
    [5 * minute + 30, '5m30s'],
    [9 * minute + 59, '9m59s'],
    [10 * minute + 5, '10m'],
    [179 * minute, '179m'],
    [3 * hour, '3h'],
    [7 * hour + 5 * minute, '7h5m'],
    [8 * hour + 5 * minute, '8h'],
    [47 * hour, '47h'],
    [3 * day + 4 * hour, '3d4h'],
    [8 * day + 4 * hour, '8d'],
    [729 * day, '729d'],
    [730 * day, '2y'],
    [(3 * 365 + 7) * day, '3y7d'],
    [9 * 365 * day, '9y'],
  ]
  for (const [seconds, expected] of cases) {
    it(`${seconds} s is ${expected}`, () => assert.equal(duration(seconds * 1000), expected))
  }
})

describe('formatSelector', () => {
  it('writes labels and expressions as kubectl -l takes them', () => {
    const matchExpressions = [
      { key: 'tier', operator: 'In', values: ['b', 'a'] },
      { key: 'old', operator: 'DoesNotExist' },
    ]
    assert.equal(formatSelector({ matchLabels: { app: 'web' }, matchExpressions }), '!old,app=web,tier in (a,b)')
    assert.equal(formatSelector(undefined), '<none>')
  })
})

describe('firstThree', () => {
  it('counts what it leaves out', () => {
    assert.equal(firstThree(['a', 'b', 'c', 'd', 'e'], '-'), 'a,b,c + 2 more...')
    assert.equal(firstThree([], '<none>'), '<none>')
  })
})
