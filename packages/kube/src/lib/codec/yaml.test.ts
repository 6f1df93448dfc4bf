import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseManifests, parseRepeatingYaml, parseYaml, renderYaml } from '../../codec.ts'

describe('parseManifests', () => {
  it('reads several documents and skips empty ones', () => {
    const text = `# head
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
---
---
{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"}}
`
    assert.deepEqual(
      parseManifests(text).map((object) => [object.kind, object.metadata.name]),
      [
        ['ConfigMap', 'a'],
        ['Secret', 'b'],
      ],
    )
  })

  it('gives the items of a list', () => {
    const text = JSON.stringify({
      apiVersion: 'v1',
      kind: 'List',
      items: [{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a' } }],
    })
    assert.deepEqual(parseManifests(text), [{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a' } }])
  })

  it('reads scalars as Kubernetes does', () => {
    const text = 'mode: 0644\nflag: on\nport: 22:22\nday: 2024-01-01\nsize: 1e3\nversion: "1.20"\nempty: ~\n'
    assert.deepEqual(parseYaml(text), {
      mode: 420,
      flag: true,
      port: '22:22',
      day: '2024-01-01',
      size: 1000,
      version: '1.20',
      empty: null,
    })
  })

  it('resolves anchors and merge keys', () => {
    const text = 'base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}\n'
    assert.deepEqual(parseYaml(text), { base: { a: 1, b: 2 }, more: { a: 1, b: 3 } })
  })

  const failures: { name: string; text: string; error: RegExp }[] = [
    { name: 'a syntax error', text: 'a: 1\nb: [1\nc: 2\n', error: /"shop\.yaml:\d": / },
    {
      name: 'a key given twice',
      text: 'apiVersion: v1\nkind: Pod\nkind: Pod\n',
      error: /"shop\.yaml:3": Map keys must be unique/,
    },
    { name: 'a missing kind', text: 'apiVersion: v1\nmetadata: {}\n', error: /"shop\.yaml:1": kind is missing/ },
    {
      name: 'missing metadata',
      text: '---\n\napiVersion: v1\nkind: Pod\n',
      error: /"shop\.yaml:3": metadata is missing/,
    },
    { name: 'a scalar document', text: 'just text', error: /is no object/ },
    { name: 'nesting without end', text: '['.repeat(20_000), error: /shop\.yaml/ },
    {
      name: 'an alias bomb',
      text: `a: &a [1,1,1,1,1,1,1,1,1]\n${'bcdefgh'
        .split('')
        .map((key, index) => `${key}: &${key} [${`*${'abcdefgh'[index]},`.repeat(9)}]`)
        .join('\n')}`,
      error: /alias/,
    },
  ]
  for (const { name, text, error } of failures) {
    it(`refuses ${name}`, () => {
      assert.throws(() => parseManifests(text, 'shop.yaml'), {
        name: 'SyntaxError',
        message: error,
        code: 'FAIRLEAD_KUBE_MANIFEST',
      })
    })
  }
})

describe('renderYaml', () => {
  it('quotes text that would be read as something else', () => {
    const value = { version: '1.20', flag: 'on', mode: '0644', nothing: 'null', long: 'word '.repeat(40), list: ['a'] }
    assert.deepEqual(parseYaml(renderYaml(value)), value)
  })

  it('writes no aliases', () => {
    const labels = { app: 'web' }
    assert.equal(renderYaml({ a: labels, b: labels }), 'a:\n  app: web\nb:\n  app: web\n')
  })
})

describe('parseRepeatingYaml', () => {
  it('takes the last of several equal keys and tells of them by line', () => {
    const text = '\nspec:\n  foo: 1\n  "foo": 2\n  list:\n  - {b: 1, b: 3}\n'
    assert.deepEqual(parseRepeatingYaml(text), {
      value: { spec: { foo: 2, list: [{ b: 3 }] } },
      repeated: [
        { key: 'foo', line: 4 },
        { key: 'b', line: 6 },
      ],
    })
  })

  it('refuses what is wrong in another way', () => {
    assert.throws(() => parseRepeatingYaml('a: 1\na: [', 'x.yaml'), { code: 'FAIRLEAD_KUBE_MANIFEST' })
  })
})
