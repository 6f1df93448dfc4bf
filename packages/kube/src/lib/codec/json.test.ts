import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { findDuplicateKeys, parseJson } from '../../codec.ts'

describe('parseJson', () => {
  it('finds keys given twice however they are written', () => {
    const findDuplicates = true
    for (const text of ['{"a":1,"a":2}', '{"a" :1,"a":2}', '{"a":1,"b":"\\":","a" : 2}', '[{"a":{},"a":[]}]']) {
      assert.match(parseJson(text, { findDuplicates }).duplicates.join(), /a$/, text)
    }
    for (const text of ['{"a":1,"b":"\\":"}', '{"a" : {"a":[{"a":1},{"a":null}]}}', '[]', '"x"']) {
      assert.deepEqual(parseJson(text, { findDuplicates }).duplicates, [], text)
    }
  })

  it('reports duplicate keys when asked', () => {
    const text = '{"spec": {"replicas": 1, "replicas": 2}}'
    assert.deepEqual(parseJson(Buffer.from(text)), { value: { spec: { replicas: 2 } }, duplicates: [] })
    assert.deepEqual(parseJson(text, { findDuplicates: true }).duplicates, ['spec.replicas'])
  })

  it('refuses what is no JSON and no UTF-8', () => {
    assert.throws(() => parseJson('{'), { name: 'SyntaxError', code: 'FAIRLEAD_KUBE_MANIFEST' })
    assert.throws(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22)), { code: 'FAIRLEAD_KUBE_MANIFEST' })
  })
})

describe('findDuplicateKeys', () => {
  const cases: [string, string[]][] = [
    ['{"a": 1, "b": {"a": 1}, "c": [{"a": 1}, {"a": 2}]}', []],
    ['{"a": 1, "a": 2, "a": 3}', ['a']],
    ['{"l": [1, {"x": [{}, {"k": 1, "k": 2}]}]}', ['l[1].x[1].k']],
    ['{"a\\"": "\\\\", "a\\u0022": "{}"}', ['a"']],
    ['{"a": "a", "b": ["a", "a"], "c": ":,{\\"a\\""}', []],
    ['[]', []],
  ]
  for (const [text, expected] of cases) it(text, () => assert.deepEqual(findDuplicateKeys(text), expected))
})
