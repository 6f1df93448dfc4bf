import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { applyJsonPatch } from '../../patch.ts'

describe('applyJsonPatch', () => {
  const cases: { name: string; document: unknown; patch: unknown[]; expected: unknown }[] = [
    {
      name: 'adds to an object, before an index and at the end of a list',
      document: { list: [1, 2] },
      patch: [
        { op: 'add', path: '/new', value: { a: null } },
        { op: 'add', path: '/list/0', value: 0 },
        { op: 'add', path: '/list/-', value: 3 },
      ],
      expected: { list: [0, 1, 2, 3], new: { a: null } },
    },
    {
      name: 'reads ~1 as "/" and ~0 as "~"',
      document: { 'a/b': 1, '~': 2, '~1': 3 },
      patch: [
        { op: 'replace', path: '/a~1b', value: 10 },
        { op: 'replace', path: '/~0', value: 20 },
        { op: 'remove', path: '/~01' },
      ],
      expected: { 'a/b': 10, '~': 20 },
    },
    {
      name: 'moves and copies',
      document: { a: { x: 1 }, list: ['p', 'q'] },
      patch: [
        { op: 'copy', from: '/a', path: '/b' },
        { op: 'replace', path: '/b/x', value: 2 },
        { op: 'move', from: '/list/0', path: '/list/1' },
      ],
      expected: { a: { x: 1 }, b: { x: 2 }, list: ['q', 'p'] },
    },
    {
      name: 'tests by value, not by order of keys',
      document: { a: { x: 1, y: [2] } },
      patch: [{ op: 'test', path: '/a', value: { y: [2], x: 1 } }],
      expected: { a: { x: 1, y: [2] } },
    },
    {
      name: 'replaces the whole document',
      document: 1,
      patch: [{ op: 'replace', path: '', value: [2] }],
      expected: [2],
    },
    {
      name: 'keeps a key named __proto__ a key',
      document: {},
      patch: [{ op: 'add', path: '/__proto__', value: { polluted: true } }],
      expected: JSON.parse('{"__proto__": {"polluted": true}}'),
    },
  ]
  for (const { name, document, patch, expected } of cases) {
    it(name, () => {
      const before = JSON.stringify(document)
      assert.deepEqual(applyJsonPatch(document, patch), expected)
      assert.equal(JSON.stringify(document), before)
    })
  }

  const failures: { name: string; patch: unknown; error: RegExp; type: 'TypeError' | 'RangeError' }[] = [
    { name: 'no list', patch: {}, error: /not a list of operations/, type: 'TypeError' },
    {
      name: 'unknown operation',
      patch: [{ op: 'merge', path: '/a' }],
      error: /operation 0.*"merge" is unknown/,
      type: 'TypeError',
    },
    { name: 'no path', patch: [{ op: 'add', value: 1 }], error: /has no path/, type: 'TypeError' },
    {
      name: 'failed test',
      patch: [{ op: 'test', path: '/a', value: 2 }],
      error: /"test \/a": the value/,
      type: 'RangeError',
    },
    {
      name: 'missing key',
      patch: [{ op: 'replace', path: '/x', value: 2 }],
      error: /"x" does not exist/,
      type: 'RangeError',
    },
    {
      name: 'missing parent',
      patch: [{ op: 'add', path: '/x/y', value: 2 }],
      error: /"x" does not exist/,
      type: 'RangeError',
    },
    {
      name: 'index beyond the end',
      patch: [{ op: 'add', path: '/l/3', value: 2 }],
      error: /beyond the list of 1/,
      type: 'RangeError',
    },
    {
      name: 'index with leading zero',
      patch: [{ op: 'remove', path: '/l/00' }],
      error: /"00" is not a list index/,
      type: 'RangeError',
    },
    {
      name: 'inherited key',
      patch: [{ op: 'test', path: '/toString', value: 1 }],
      error: /"toString" does not exist/,
      type: 'RangeError',
    },
    {
      name: 'move into itself',
      patch: [{ op: 'move', from: '/o', path: '/o/x' }],
      error: /into itself/,
      type: 'RangeError',
    },
    {
      name: 'copies that double the document again and again',
      patch: Array.from({ length: 40 }, () => ({ op: 'copy', from: '', path: '/l/-' })),
      error: /copies more than/,
      type: 'RangeError',
    },
  ]
  for (const { name, patch, error, type } of failures) {
    it(`refuses: ${name}`, () => {
      assert.throws(() => applyJsonPatch({ a: 1, l: [0], o: {} }, patch), {
        name: type,
        message: error,
        code: 'FAIRLEAD_KUBE_PATCH',
      })
    })
  }
})
