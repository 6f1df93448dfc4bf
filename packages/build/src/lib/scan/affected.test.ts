import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { judgeVersion } from './affected.ts'
import { compareSemver } from './versions/compare.ts'

const rows = [
  {
    name: 'a range from the beginning',
    events: [{ introduced: '0' }, { fixed: '1.2.0' }],
    in: ['0.0.1', '1.1.9', '1.2.0-rc.1'],
    out: ['1.2.0', '2.0.0'],
  },
  { name: 'a range without an end', events: [{ introduced: '1.0.0' }], in: ['1.0.0', '99.0.0'], out: ['0.9.0'] },
  {
    name: 'last_affected',
    events: [{ introduced: '1.0.0' }, { last_affected: '1.4.0' }],
    in: ['1.0.0', '1.4.0'],
    out: ['1.4.1'],
  },
  {
    name: 'several spans in any order',
    events: [{ fixed: '2.5.0' }, { introduced: '2.0.0' }, { fixed: '1.5.0' }, { introduced: '1.0.0' }],
    in: ['1.4.9', '2.4.0'],
    out: ['1.5.0', '1.9.0', '2.5.0'],
  },
  {
    name: 'a span that begins where another ends',
    events: [{ introduced: '0' }, { fixed: '1.0.0' }, { introduced: '1.0.0' }],
    in: ['0.1.0', '1.0.0', '2.0.0'],
    out: [],
  },
  { name: 'limit', events: [{ introduced: '0' }, { limit: '3.0.0' }], in: ['2.9.9'], out: ['3.0.0'] },
  { name: 'limit without bound', events: [{ introduced: '0' }, { limit: '*' }], in: ['99.0.0'], out: [] },
]

describe('judgeVersion', () => {
  for (const row of rows) {
    it(`evaluates ${row.name}`, () => {
      const affected = { ranges: [{ type: 'SEMVER', events: row.events }], versions: [] }
      for (const version of row.in)
        assert.equal(judgeVersion(version, affected, compareSemver).state, 'affected', version)
      for (const version of row.out)
        assert.equal(judgeVersion(version, affected, compareSemver).state, 'unaffected', version)
    })
  }

  it('names the version that ends the span the version lies in', () => {
    const events = [{ introduced: '1.0.0' }, { fixed: '1.5.0' }, { introduced: '2.0.0' }, { fixed: '2.5.0' }]
    const affected = { ranges: [{ type: 'SEMVER', events }], versions: [] }
    assert.deepEqual(judgeVersion('2.1.0', affected, compareSemver).fixed, ['2.5.0'])
    assert.deepEqual(judgeVersion('1.1.0', affected, compareSemver).fixed, ['1.5.0'])
  })

  it('takes listed versions as they are written', () => {
    const affected = { ranges: [], versions: ['not-semver'] }
    assert.equal(judgeVersion('not-semver', affected, compareSemver).state, 'affected')
    assert.equal(judgeVersion('other', affected, compareSemver).state, 'unaffected')
  })

  it('does not know what it cannot compare', () => {
    const affected = { ranges: [{ type: 'SEMVER', events: [{ introduced: '1.0.0' }] }], versions: [] }
    assert.equal(judgeVersion('newest', affected, compareSemver).state, 'unknown')
  })
})
