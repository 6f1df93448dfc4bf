import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { parseLabelSelector } from './label-selector.ts'
import { matches, parseFieldSelector, renderLabelSelector } from './selectors.ts'

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

  for (const [text, message] of [
    ['=a', "found '=', expected: !, identifier, or 'end of string'"],
    ['(a)', "found '(', expected: !, identifier, or 'end of string'"],
    [',', "found ',', expected: !, identifier, or 'end of string'"],
    ['a in', "unable to parse requirement: found '' expected: '('"],
    ['a in b', "unable to parse requirement: found 'b' expected: '('"],
    ['a in (b', "unable to parse requirement: found '', expected: ',' or ')'"],
    ['a in (=', "unable to parse requirement: found '=', expected: ',', ')' or identifier"],
    ['a=b c', "found 'c', expected: ',' or 'end of string'"],
    ['a b', "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"],
    ['a=b,,c', "found ',', expected: identifier after ','"],
    ['a=b,', "found '', expected: identifier after ','"],
    ['!', "unable to parse requirement: found '', expected: identifier"],
    ['a==(b)', "unable to parse requirement: found '(', expected: identifier"],
    [
      'a>b',
      "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
    ],
  ] as const) {
    it(`refuses "${text}"`, () => assert.throws(() => parseLabelSelector(text), { message }))
  }

  it('refuses keys and values no label can have', () => {
    assert.throws(() => parseLabelSelector('-a=b'), /^Error: unable to parse requirement: <nil>: Invalid value: "-a": /)
    assert.throws(
      () => parseLabelSelector('app in (web,-x)'),
      /^Error: unable to parse requirement: values\[0\]\[app\]: Invalid value: "-x": a valid label must be an empty string or consist of/,
    )
  })

  for (const [text, values] of [
    ['a in ()', ['']],
    ['a in (,)', ['']],
    ['a in (b,)', ['', 'b']],
    ['a in (,b,,c)', ['', 'b', 'c']],
    ['in in (in,notin)', ['in', 'notin']],
  ] as const) {
    it(`reads the values of "${text}"`, () => assert.deepEqual(parseLabelSelector(text)[0]?.values, values))
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

  for (const [text, message] of [
    ['nonsense', "invalid selector: 'nonsense'; can't understand 'nonsense'"],
    ['a=b,c', "invalid selector: 'a=b,c'; can't understand 'c'"],
    ['a=b\\c', 'invalid field selector: invalid escape sequence: \\c'],
    ['a=b\\', 'invalid field selector: invalid escape sequence: \\'],
    ['a=b=c', 'invalid field selector: unescaped character in value: 61'],
  ] as const) {
    it(`refuses "${text}"`, () => assert.throws(() => parseFieldSelector(text), { message }))
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
