import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { satisfiesEngines } from './engines.ts'

describe('satisfiesEngines', () => {
  const cases: [range: string, isSatisfied: boolean][] = [
    ['>=20', true],
    ['>= 24.12.0 < 25', true],
    ['>24', false],
    ['>24.20', true],
    ['<24', false],
    ['<=24', true],
    ['^22.22.2 || ^24.15 || >=26', true],
    ['^22 || ^26', false],
    ['~24.21', true],
    ['~24.20', false],
    ['24.x', true],
    ['24', true],
    ['*', true],
    ['', true],
    ['20 - 22', false],
    ['20 - 24', true],
    ['v24.21.0', true],
    ['lts', true],
  ]
  for (const [range, isSatisfied] of cases) {
    it(`${isSatisfied ? 'takes' : 'refuses'} 24.21.0 for "${range}"`, () => {
      assert.equal(satisfiesEngines('24.21.0', range), isSatisfied)
    })
  }
})
