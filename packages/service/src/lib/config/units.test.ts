import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseDuration, parseSize } from './units.ts'

describe('parseDuration', () => {
  const cases: [string, number | undefined][] = [
    ['5s', 5000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['250ms', 250],
    ['100us', 0.1],
    ['7d', 604_800_000],
    ['0', 0],
    ['5', undefined],
    ['5 s', undefined],
    ['-5s', undefined],
    ['s', undefined],
    ['', undefined],
    ['1y', undefined],
    ['9'.repeat(70) + 's', undefined],
  ]
  for (const [text, expected] of cases)
    it(`reads "${text.slice(0, 20)}"`, () => assert.equal(parseDuration(text), expected))
})

describe('parseSize', () => {
  const cases: [string, number | undefined][] = [
    ['16MiB', 16_777_216],
    ['16Mi', 16_777_216],
    ['16 MB', 16_000_000],
    ['1.5GB', 1_500_000_000],
    ['64k', 64_000],
    ['1024', 1024],
    ['1024B', 1024],
    ['0', 0],
    ['100m', undefined],
    ['-1', undefined],
    ['1 parsec', undefined],
    ['', undefined],
    ['99999999TiB', undefined],
  ]
  for (const [text, expected] of cases) it(`reads "${text}"`, () => assert.equal(parseSize(text), expected))
})
