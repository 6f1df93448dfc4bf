import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { copyExactJson, holdsLongInteger, parseExactJson, renderExactJson } from './exact-json.ts'
import { parseManifests, renderYaml } from './yaml.ts'

describe('parseExactJson', () => {
  const cases = [
    ['9007199254740991', 9_007_199_254_740_991],
    ['9007199254740993', 9_007_199_254_740_993n],
    ['-9007199254740993', -9_007_199_254_740_993n],
    ['9223372036854775807', 2n ** 63n - 1n],
    ['-9223372036854775808', -(2n ** 63n)],
    ['9223372036854775808', 2 ** 63],
    [String(2 ** 63), 2n ** 63n - 1n],
    ['1e18', 1e18],
    ['9007199254740993.0', 9_007_199_254_740_992],
    ['0.12345678901234567890', 0.123_456_789_012_345_68],
    ['"9007199254740993"', '9007199254740993'],
  ] as const
  for (const [text, expected] of cases) {
    it(`reads ${text} wherever it is`, () => {
      assert.deepEqual(parseExactJson(text), expected)
      for (let pad = 0; pad < 17; pad += 1) {
        const key = 'k'.repeat(pad)
        assert.deepEqual(parseExactJson(`{"${key}": [${text},${text}]}`), { [key]: [expected, expected] })
      }
    })
  }

  it('passes texts without long numbers, and long digits in what is none', () => {
    assert.equal(
      holdsLongInteger('{"uid":"1234567890123456","time":"2026-01-01T00:00:00.000000Z","n":123456789012345}'),
      false,
    )
    assert.equal(holdsLongInteger(`{"digest":"sha256-a${'1234567890'.repeat(6)}"}`), false)
    assert.equal(holdsLongInteger(`{"n":${'9'.repeat(1_000_000)}}`), false)
  })

  it('throws what JSON.parse throws', () =>
    assert.throws(() => parseExactJson('{"a":90071992547409931x}'), SyntaxError))
})

describe('renderExactJson', () => {
  const value = { a: [2n ** 63n - 1n, 1], b: { c: -(2n ** 60n) - 1n, d: null, e: 'x' } }
  const text = '{"a":[9223372036854775807,1],"b":{"c":-1152921504606846977,"d":null,"e":"x"}}'

  it('writes bigints as numbers', () => {
    assert.equal(renderExactJson(value), text)
    assert.equal(renderExactJson({ a: 2n ** 60n }, 2), '{\n  "a": 1152921504606846976\n}')
    assert.deepEqual(parseExactJson(text), value)
    assert.deepEqual(copyExactJson(value), value)
  })

  it('throws for what JSON has no form for', () => {
    const circle: Record<string, unknown> = {}
    circle['self'] = circle
    assert.throws(() => renderExactJson(circle), TypeError)
  })
})

describe('YAML with exact integers', () => {
  it('reads and writes 64 bits', () => {
    const text =
      'apiVersion: v1\nkind: Widget\nmetadata:\n  name: a\nspec:\n  big: 9223372036854775807\n  mode: 0644\n  small: 7\n'
    const [object] = parseManifests(text, 'widget.yaml', { exactIntegers: true })
    assert.deepEqual(object?.['spec'], { big: 2n ** 63n - 1n, mode: 420, small: 7 })
    assert.match(renderYaml(object), /big: 9223372036854775807\n  mode: 420\n  small: 7\n/)
    assert.deepEqual(parseManifests(text)[0]?.['spec'], { big: 2 ** 63, mode: 420, small: 7 })
  })
})
