import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { compareApk } from './apk.ts'
import { compareSemver } from './compare.ts'
import { compareDpkg } from './dpkg.ts'

/** Each list is in ascending order. */
const orders = [
  {
    name: 'compareDpkg',
    compare: compareDpkg,
    lists: [
      ['1.0~~', '1.0~~a', '1.0~', '1.0', '1.0-1', '1.0-1+deb12u1', '1.0-2', '1.0a', '1.0+b', '1.1', '1:0.1'],
      ['2.36-9', '2.36-9+deb12u4', '2.36-9+deb12u13', '2.37-1'],
      ['0.9', '0.10', '00.11', '99999999999999999999.1', '100000000000000000000'],
    ],
  },
  {
    name: 'compareApk',
    compare: compareApk,
    lists: [
      [
        '1.0_alpha',
        '1.0_alpha2',
        '1.0_beta',
        '1.0_pre1',
        '1.0_rc1',
        '1.0',
        '1.0_git20240101',
        '1.0_p1',
        '1.0a',
        '1.0.1',
      ],
      ['1.2.3-r0', '1.2.3-r9', '1.2.3-r10', '1.2.4', '1.10', '2'],
      ['3.1.05', '3.1.4', '3.1.10'],
    ],
  },
  {
    name: 'compareSemver',
    compare: compareSemver,
    lists: [
      ['1.0.0-alpha', '1.0.0-alpha.1', '1.0.0-alpha.beta', '1.0.0-beta.2', '1.0.0-beta.11', '1.0.0-rc.1', '1.0.0'],
      ['1.9.0', '1.10.0', '1.11.0', '2.0.0-0', '2.0.0'],
    ],
  },
]

for (const { name, compare, lists } of orders) {
  describe(name, () => {
    for (const list of lists) {
      it(`orders ${list.join(' < ')}`, () => {
        for (const [i, a] of list.entries())
          for (const [j, b] of list.entries()) {
            assert.equal(Math.sign(compare(a, b) ?? Number.NaN), Math.sign(i - j), `${a} and ${b}`)
          }
      })
    }
  })
}

describe('versions that mean the same', () => {
  it('are equal', () => {
    assert.equal(compareDpkg('0:1.0-0', '1.0'), 0)
    assert.equal(compareDpkg('1.02', '1.2'), 0)
    assert.equal(compareApk('1.0', '1.0-r0'), 0)
    assert.equal(compareSemver('1.0.0+build', 'v1.0.0'), 0)
  })

  it('are not compared when one is no version', () => {
    assert.equal(compareApk('1.0', 'latest'), undefined)
    assert.equal(compareSemver('1.0.0', 'latest'), undefined)
  })
})
