import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { renderAge, renderDuration, renderSize, renderTable, suggest } from './text.ts'

describe('renderDuration', () => {
  const cases: [number, string][] = [
    [0.4, '0 ms'],
    [340, '340 ms'],
    [999.7, '1.0 s'],
    [59_900, '59.9 s'],
    [59_990, '1 min 0 s'],
    [125_000, '2 min 5 s'],
  ]
  for (const [durationMs, text] of cases) it(text, () => assert.equal(renderDuration(durationMs), text))
})

describe('renderSize', () => {
  const cases: [number, string][] = [
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [41_234_567, '41.2 MB'],
    [3_000_000_000, '3.0 GB'],
  ]
  for (const [sizeBytes, text] of cases) it(text, () => assert.equal(renderSize(sizeBytes), text))
})

describe('renderAge', () => {
  const now = Date.parse('2026-01-03T00:00:00Z')
  it('is none of a time that is not known, and of the epoch of reproducible images', () => {
    assert.deepEqual(
      [undefined, '', '1970-01-01T00:00:00.000Z'].map((since) => renderAge(since, now)),
      ['-', '-', '-'],
    )
  })
  const cases: [string, string][] = [
    ['2026-01-02T23:59:01Z', '59s'],
    ['2026-01-02T23:50:00Z', '10m'],
    ['2026-01-02T12:00:00Z', '12h'],
    ['2025-12-30T00:00:00Z', '4d'],
  ]
  for (const [since, text] of cases) it(text, () => assert.equal(renderAge(since, now), text))
})

describe('renderTable', () => {
  it('pads columns to their widest cell, without trailing spaces', () => {
    assert.equal(renderTable(['A', 'LONG'], [['wide cell', 'x']]), 'A          LONG\nwide cell  x')
  })
})

describe('suggest', () => {
  const names = ['up', 'down', 'status', 'cluster start', 'cluster stop']
  const cases: [string, string | undefined][] = [
    ['statsu', 'status'],
    ['dwon', 'down'],
    ['cluster strat', 'cluster start'],
    ['clutser start', 'cluster start'],
    ['frobnicate', undefined],
  ]
  for (const [word, expected] of cases) it(word, () => assert.equal(suggest(word, names), expected))
})
