import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { suggest } from './suggest.ts'

describe('suggest', () => {
  const cases = [
    { name: 'one letter wrong', word: 'replicaz', expected: 'replicas' },
    { name: 'two letters swapped', word: 'evn', expected: 'env' },
    { name: 'another case', word: 'Health', expected: 'health' },
    { name: 'a letter missing', word: 'volume', expected: 'volumes' },
    { name: 'nothing near', word: 'dockerfile', expected: undefined },
  ]
  for (const { name, word, expected } of cases) {
    it(name, () => assert.equal(suggest(word, ['env', 'health', 'port', 'replicas', 'volumes']), expected))
  }
})
