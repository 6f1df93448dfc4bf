import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { matches, parseFieldSelector, parseLabelSelector, renderLabelSelector } from './selectors.ts'

describe('parseLabelSelector', () => {
  const labels = { app: 'web', tier: 'front', version: '3', empty: '' }
  for (const [text, expected] of [
    ['', true],
    ['app=web', true],
    ['app==web,tier=front', true],
    ['app = web , tier != back', true],
    ['app=api', false],
    ['other!=x', true],
    ['app in (api, web)', true],
    ['app in (api)', false],
    ['app notin (api),tier', true],
    ['missing notin (a)', true],
    ['!missing', true],
    ['!app', false],
    ['missing', false],
    ['version>2,version<4', true],
    ['version>3', false],
    ['empty=', true],
    ['example.com/role notin (db)', true],
    ['toString', false],
  ] as const) {
    it(`reads "${text}"`, () => assert.equal(matches(parseLabelSelector(text), labels), expected))
  }

  for (const text of ['=a', 'a in', 'a in b', 'a in (b', 'a=b c', ',', 'a=b,,c', '(a)']) {
    it(`refuses "${text}"`, () => assert.throws(() => parseLabelSelector(text), /unable to parse requirement/))
  }
})

describe('parseFieldSelector', () => {
  const fields = { 'metadata.name': 'web', 'status.phase': 'Running', 'spec.nodeName': '', note: 'a,b=c' }
  for (const [text, expected] of [
    ['metadata.name=web', true],
    ['metadata.name==web,status.phase!=Failed', true],
    ['spec.nodeName=', true],
    ['spec.nodeName!=', false],
    ['note=a\\,b\\=c', true],
  ] as const) {
    it(`reads "${text}"`, () => assert.equal(matches(parseFieldSelector(text), fields), expected))
  }
})

describe('renderLabelSelector', () => {
  it('writes what parseLabelSelector reads', () => {
    const text = renderLabelSelector({
      matchLabels: { tier: 'front', app: 'web' },
      matchExpressions: [
        { key: 'version', operator: 'NotIn', values: ['2', '1'] },
        { key: 'track', operator: 'Exists' },
        { key: 'legacy', operator: 'DoesNotExist' },
      ],
    })
    assert.equal(text, '!legacy,app=web,tier=front,track,version notin (1,2)')
    assert.equal(parseLabelSelector(text).length, 5)
  })
})
