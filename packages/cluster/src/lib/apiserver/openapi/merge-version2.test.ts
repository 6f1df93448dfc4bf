import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { mergeVersion2, partOf } from './merge-version2.ts'

const refersTo = (name: string): object => ({ schema: { $ref: `#/definitions/${name}` } })
const kindKey = 'x-kubernetes-group-version-kind'

describe('partOf', () => {
  it('keeps what lies below the prefix, and the definitions that needs', () => {
    const paths = { '/apis/a/v1/things': { get: refersTo('A') }, '/apis/b/v1/things': { get: refersTo('C') } }
    const definitions = { A: { items: { $ref: '#/definitions/B' } }, B: {}, C: {}, D: {} }
    const part = partOf({ paths, definitions }, '/apis/a/v1/')
    assert.deepEqual(Object.keys(part.paths), ['/apis/a/v1/things'])
    assert.deepEqual(Object.keys(part.definitions).toSorted(), ['A', 'B'])
  })

  it('writes parameters that operations share into each of them', () => {
    const path = {
      parameters: [{ $ref: '#/parameters/namespace' }],
      get: { parameters: [{ name: 'limit', in: 'query' }] },
      delete: { operationId: 'x' },
      'x-own': true,
    }
    const document = { paths: { '/p/': path }, parameters: { namespace: { name: 'namespace', in: 'path' } } }
    const namespace = { name: 'namespace', in: 'path' }
    assert.deepEqual(partOf(document, '/p').paths['/p/'], {
      get: { parameters: [namespace, { name: 'limit', in: 'query' }] },
      delete: { operationId: 'x', parameters: [namespace] },
    })
  })

  it('finds nothing in what is no document', () => {
    for (const paths of [undefined, null, [], 'x', { '/p': null }]) {
      assert.deepEqual(partOf({ paths, definitions: 3 }, '/q'), { paths: {}, definitions: {} })
    }
  })

  it('comes to an end where definitions refer to each other', () => {
    const definitions = { A: { $ref: '#/definitions/B' }, B: { $ref: '#/definitions/A' } }
    assert.deepEqual(partOf({ paths: { '/p': { get: refersTo('A') } }, definitions }, '/p').definitions, definitions)
  })
})

describe('mergeVersion2', () => {
  it('leaves addresses that are there as they are, with the definitions they alone needed', () => {
    const own = { paths: { '/p': { get: refersTo('A') } }, definitions: { A: { type: 'object' } } }
    const part = { paths: { '/p': { get: refersTo('B') } }, definitions: { B: {} } }
    assert.deepEqual(mergeVersion2(own, [part]), own)
  })

  it('gives a definition that says something else under the same name the next free one', () => {
    const own = { paths: {}, definitions: { A: { type: 'object' } } }
    const other = (path: string, type: string): Parameters<typeof mergeVersion2>[1][number] => ({
      paths: { [path]: { get: refersTo('A') } },
      definitions: { A: { type, items: { $ref: '#/definitions/A' } } },
    })
    const merged = mergeVersion2(own, [other('/p', 'string'), other('/q', 'number'), other('/r', 'number')])
    assert.deepEqual(merged.definitions, {
      A: { type: 'object' },
      A_v2: { type: 'string', items: { $ref: '#/definitions/A_v2' } },
      A_v3: { type: 'number', items: { $ref: '#/definitions/A_v3' } },
      A_v4: { type: 'number', items: { $ref: '#/definitions/A_v4' } },
    })
    assert.deepEqual(merged.paths['/q'], { get: refersTo('A_v3') })
  })

  it('keeps one definition where several say the same, of the kinds of all of them', () => {
    const options = (group: string): Record<string, Record<string, unknown>> => ({
      DeleteOptions: { type: 'object', [kindKey]: [{ group, version: 'v1', kind: 'DeleteOptions' }] },
    })
    const own = { paths: {}, definitions: options('b') }
    const merged = mergeVersion2(own, [
      { paths: { '/p': { get: refersTo('DeleteOptions') } }, definitions: options('a') },
    ])
    assert.deepEqual(
      merged.definitions['DeleteOptions']?.[kindKey],
      ['a', 'b'].map((group) => ({ group, version: 'v1', kind: 'DeleteOptions' })),
    )
    assert.deepEqual(own.definitions, options('b'))
  })
})
