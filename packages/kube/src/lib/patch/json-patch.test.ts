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

  // Where Kubernetes differs from RFC 6902, a client that learned from it expects the same here.
  const lenient: typeof cases = [
    {
      name: 'sets a key by replace that is not there',
      document: { a: 1 },
      patch: [{ op: 'replace', path: '/b', value: 2 }],
      expected: { a: 1, b: 2 },
    },
    {
      name: 'counts negative indexes from the end',
      document: { list: [1, 2, 3] },
      patch: [
        { op: 'replace', path: '/list/-1', value: 30 },
        { op: 'add', path: '/list/-1', value: 4 },
        { op: 'remove', path: '/list/-4' },
        { op: 'test', path: '/list/-3', value: 2 },
      ],
      expected: { list: [2, 30, 4] },
    },
    {
      name: 'reads indexes as Go reads numbers',
      document: { list: [1, 2, 3] },
      patch: [
        { op: 'remove', path: '/list/01' },
        { op: 'replace', path: '/list/+1', value: 4 },
      ],
      expected: { list: [1, 4] },
    },
    {
      name: 'takes a key that is not there for null in a test, and copies it as null',
      document: { a: null },
      patch: [
        { op: 'test', path: '/none', value: null },
        { op: 'test', path: '/a' },
        { op: 'copy', from: '/none', path: '/b' },
      ],
      expected: { a: null, b: null },
    },
    {
      name: 'leaves out what stands before the first slash',
      document: { a: 1 },
      patch: [{ op: 'add', path: 'x/b', value: 2 }],
      expected: { a: 1, b: 2 },
    },
  ]
  for (const { name, document, patch, expected } of lenient) {
    it(name, () => assert.deepEqual(applyJsonPatch(document, patch), expected))
  }

  it('does nothing where the patch is null', () => assert.deepEqual(applyJsonPatch({ a: 1 }, null), { a: 1 }))

  const malformed: { name: string; patch: unknown; message: string }[] = [
    { name: 'no list', patch: {}, message: 'json: cannot unmarshal object into Go value of type jsonpatch.Patch' },
    { name: 'a text', patch: 'x', message: 'json: cannot unmarshal string into Go value of type jsonpatch.Patch' },
    {
      name: 'an operation that is a flag',
      patch: [true],
      message: 'json: cannot unmarshal bool into Go value of type jsonpatch.Operation',
    },
    {
      name: 'too many operations',
      patch: Array.from({ length: 10_001 }, () => ({})),
      message: 'The allowed maximum operations in a JSON patch is 10000, got 10001',
    },
  ]
  for (const { name, patch, message } of malformed) {
    it(`is told as malformed: ${name}`, () => {
      const expected = { name: 'TypeError', message, code: 'FAIRLEAD_KUBE_PATCH' }
      assert.throws(() => applyJsonPatch({}, patch), expected)
    })
  }

  // The words are those of evanphx/json-patch 4.13, which the API server has.
  const failures: readonly (readonly [operation: unknown, message: string])[] = [
    [{ op: 'merge', path: '/a' }, 'Unexpected kind: merge'],
    [{ op: 'toString', path: '/a' }, 'Unexpected kind: toString'],
    [{ op: 1 }, 'Unexpected kind: unknown'],
    [null, 'Unexpected kind: unknown'],
    [{ op: 'add', value: 1 }, 'add operation failed to decode path: missing value'],
    [{ op: 'add', path: 1, value: 1 }, 'add operation failed to decode path: missing value'],
    [{ op: 'remove', path: null }, 'remove operation failed to decode path: missing value'],
    [{ op: 'replace' }, 'replace operation failed to decode path: operation missing path field: missing value'],
    [
      { op: 'test', path: 1 },
      'test operation failed to decode path: json: cannot unmarshal number into Go value of type string',
    ],
    [{ op: 'move', path: '/b' }, 'move operation failed to decode from: operation, missing from field: missing value'],
    [{ op: 'move', from: '/a' }, 'move operation failed to decode path: operation missing path field: missing value'],
    [{ op: 'copy', from: '/a' }, 'copy operation failed to decode path: missing value'],
    [
      { op: 'copy', from: [] },
      'copy operation failed to decode from: json: cannot unmarshal array into Go value of type string',
    ],
    [{ op: 'add', path: '', value: {} }, 'add operation does not apply: doc is missing path: "": missing value'],
    [{ op: 'add', path: 'a', value: {} }, 'add operation does not apply: doc is missing path: "a": missing value'],
    [{ op: 'add', path: '/x/y', value: 2 }, 'add operation does not apply: doc is missing path: "/x/y": missing value'],
    [{ op: 'add', path: '/a/y', value: 2 }, 'add operation does not apply: doc is missing path: "/a/y": missing value'],
    [
      { op: 'add', path: '/l/3', value: 2 },
      "error in add for path: '/l/3': Unable to access invalid index: 3: invalid index referenced",
    ],
    [
      { op: 'add', path: '/l/x', value: 2 },
      `error in add for path: '/l/x': value was not a proper array index: 'x': strconv.Atoi: parsing "x": invalid syntax`,
    ],
    [{ op: 'remove', path: '/x/y' }, 'remove operation does not apply: doc is missing path: "/x/y": missing value'],
    [{ op: 'remove', path: '' }, 'remove operation does not apply: doc is missing path: "": missing value'],
    [
      { op: 'remove', path: '/x' },
      "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value",
    ],
    [
      { op: 'remove', path: '/toString' },
      "error in remove for path: '/toString': Unable to remove nonexistent key: toString: missing value",
    ],
    [{ op: 'remove', path: '/l/-' }, `error in remove for path: '/l/-': strconv.Atoi: parsing "-": invalid syntax`],
    [
      { op: 'remove', path: '/l/-2' },
      "error in remove for path: '/l/-2': Unable to access invalid index: -2: invalid index referenced",
    ],
    [{ op: 'replace', path: '/x/y' }, 'replace operation does not apply: doc is missing path: /x/y: missing value'],
    [{ op: 'replace', path: '/l/1' }, 'replace operation does not apply: doc is missing key: /l/1: missing value'],
    [{ op: 'replace', path: '', value: 1 }, 'replace operation value must be object or array'],
    [{ op: 'test', path: '/a', value: 2 }, 'testing value /a failed: test failed'],
    [{ op: 'test', path: '/a' }, 'testing value /a failed: test failed'],
    [{ op: 'test', path: '/x', value: 2 }, 'testing value /x failed: test failed'],
    [{ op: 'test', path: '', value: {} }, 'testing value  failed: test failed'],
    [{ op: 'test', path: '/toString', value: 1 }, 'testing value /toString failed: test failed'],
    [{ op: 'test', path: '/x/y', value: 2 }, 'test operation does not apply: is missing path: /x/y: missing value'],
    [
      { op: 'test', path: '/l/1', value: 2 },
      "error in test for path: '/l/1': Unable to access invalid index: 1: invalid index referenced",
    ],
    [
      { op: 'move', from: '/x/y', path: '/b' },
      'move operation does not apply: doc is missing from path: /x/y: missing value',
    ],
    [
      { op: 'move', from: '/x', path: '/b' },
      "error in move for path: 'x': Unable to remove nonexistent key: x: missing value",
    ],
    [
      { op: 'move', from: '/o', path: '/o/x' },
      'move operation does not apply: doc is missing destination path: /o/x: missing value',
    ],
    [
      { op: 'move', from: '/o', path: '/l/9' },
      "error in move for path: '/l/9': Unable to access invalid index: 9: invalid index referenced",
    ],
    [{ op: 'copy', from: '', path: '/b' }, 'copy operation does not apply: doc is missing from path: : missing value'],
    [
      { op: 'copy', from: '/a', path: '/x/y' },
      'copy operation does not apply: doc is missing destination path: /x/y: missing value',
    ],
    [
      { op: 'copy', from: '/l/1', path: '/b' },
      "error in copy for from: '/l/1': Unable to access invalid index: 1: invalid index referenced",
    ],
    [
      { op: 'copy', from: '/a', path: '/l/5' },
      'error while adding value during copy: Unable to access invalid index: 5: invalid index referenced',
    ],
  ]
  for (const [operation, message] of failures) {
    it(`refuses ${JSON.stringify(operation)}`, () => {
      const document = { a: 1, l: [0], o: {} }
      const expected = { name: 'RangeError', message, code: 'FAIRLEAD_KUBE_PATCH' }
      assert.throws(() => applyJsonPatch(document, [operation]), expected)
      assert.deepEqual(document, { a: 1, l: [0], o: {} })
    })
  }

  it('refuses copies that double the document again and again', () => {
    const patch = Array.from({ length: 40 }, () => ({ op: 'copy', from: '/l', path: '/l/-' }))
    const message =
      /^Unable to complete the copy, the accumulated size increase of copy is \d+, exceeding the limit 3145728$/
    assert.throws(() => applyJsonPatch({ l: [0] }, patch), { name: 'RangeError', message })
  })
})
