import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { decodeProtobuf, encodeMessage, encodeProtobuf, renderElementHead, renderEnvelope } from '../../codec.ts'
import { kinds } from '../../types.ts'
import { findDefinition, messageOf } from '../types/fields.ts'
import { bodies } from '../types/notation.ts'
import type { FieldInfo } from '../types/notation.ts'

/** Numbers from a seed, so that what fails once fails again (mulberry32). */
function createRandom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** Objects as JSON would have them: everything set that is there, since zeros are left out. */
class Generator {
  readonly #random: (below: number) => number

  constructor(seed: number) {
    this.#random = createRandom(seed)
  }

  object(definition: string, depth = 0): Record<string, unknown> {
    const object: Record<string, unknown> = {}
    for (const field of messageOf(definition).values()) {
      if ('inline' in field) Object.assign(object, this.object(field.inline, depth))
      else if (this.#random(depth < 3 ? 4 : 8) > 0 && !(depth > 6 && field.ref !== undefined)) {
        object[field.name] = this.#value(field, depth)
      }
    }
    return object
  }

  #value(field: FieldInfo, depth: number): unknown {
    const list = (): unknown[] => Array.from({ length: 1 + this.#random(2) }, () => this.#element(field, depth))
    if (!field.map) return field.list ? list() : this.#element(field, depth)
    const keys = Array.from({ length: 1 + this.#random(3) }, () => this.#text())
    return Object.fromEntries(keys.map((key) => [key, field.list ? list() : this.#element(field, depth)]))
  }

  #element(field: FieldInfo, depth: number): unknown {
    if (field.ref !== undefined) return this.object(field.ref, depth + 1)
    const seconds = new Date(1_000_000_000_000 + this.#random(1_000_000_000) * 1000).toISOString().slice(0, 19)
    switch (field.type) {
      case 'string':
        return this.#text()
      case 'integer':
        return this.#integer(field.format === 'int64')
      case 'number':
        return this.#random(1000) + 0.25
      case 'boolean':
        return true
      case 'bytes':
        return Buffer.from(this.#text()).toString('base64')
      case 'quantity':
        return `${1 + this.#random(500)}m`
      case 'time':
        return `${seconds}Z`
      case 'microTime':
        return `${seconds}.${String(this.#random(1_000_000)).padStart(6, '0')}Z`
      case 'intOrString':
        return this.#random(2) === 0 ? this.#text() : this.#integer(false)
      case 'schemaOrBoolean':
        return this.#random(2) === 0
      case 'schemaOrList':
      case 'schemaOrStrings':
        return field.type === 'schemaOrList' ? [{ type: 'string' }] : [this.#text()]
      default:
        return { some: [this.#text(), this.#random(9), null, { nested: true }] }
    }
  }

  #integer(isLong: boolean): number {
    const sizes = [
      1 << 7,
      1 << 14,
      1 << 21,
      1 << 28,
      2 ** 31 - 1,
      ...(isLong ? [2 ** 40, Number.MAX_SAFE_INTEGER] : []),
    ]
    const size = sizes[this.#random(sizes.length)] ?? 1
    return (this.#random(4) === 0 ? -1 : 1) * (size - this.#random(3))
  }

  #text(): string {
    const words = ['a', 'web-1', 'größe', '日本語', '🚢', 'x'.repeat(200), 'ü'.repeat(40), 'app.kubernetes.io/name']
    return `${words[this.#random(words.length)]}${this.#random(1000)}`
  }
}

describe('encodeProtobuf', () => {
  it('is undone by decodeProtobuf for objects of every kind and every option type', () => {
    let count = 0
    for (const key of bodies.keys()) {
      const [group = '', kind = ''] = key.split(' ')
      const apiVersion = group === '*' ? 'v1' : group
      const definition = findDefinition(apiVersion, kind) ?? ''
      for (let seed = 1; seed <= 5; seed += 1) {
        const object = { apiVersion, kind, ...new Generator(seed * 7919 + count).object(definition) }
        const hasMetadata = [...messageOf(definition).values()].some((f) => 'name' in f && f.name === 'metadata')
        const expected = hasMetadata ? { metadata: {}, ...object } : object
        assert.deepEqual(decodeProtobuf(encodeProtobuf(object)), expected, `${key} seed ${seed}`)
        count += 1
      }
    }
    assert.ok(count > 5 * kinds.length)
  })

  it('gives equal objects equal bytes, whatever the order of their keys', () => {
    const a = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data: { x: '1', y: '2' } }
    const b = { kind: 'ConfigMap', data: { y: '2', x: '1' }, metadata: { name: 'a' }, apiVersion: 'v1' }
    assert.deepEqual(encodeProtobuf(a), encodeProtobuf(b))
  })

  it('writes what Go writes', () => {
    const object = { apiVersion: 'v1', kind: 'Binding', metadata: { name: 'web' }, target: { name: 'n1' } }
    const raw = '0a050a0377656212041a026e31'
    const expected = `6b3873000a0d0a0276311207${Buffer.from('Binding').toString('hex')}120d${raw}1a002200`
    assert.equal(encodeProtobuf(object).toString('hex'), expected)
  })

  it('can be put together from parts: an item of a list is the same bytes as the message of the object', () => {
    const pods = ['a', 'b'].map((name) => ({ metadata: { name }, spec: { containers: [{ name, image: 'app:1' }] } }))
    const items = pods.flatMap((pod) => {
      const item = encodeMessage('io.k8s.api.core.v1.Pod', pod)
      return [renderElementHead(2, item.length), item]
    })
    const metadata = encodeMessage('io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta', { resourceVersion: '7' })
    const list = Buffer.concat([renderElementHead(1, metadata.length), metadata, ...items])
    const { head, tail } = renderEnvelope('v1', 'PodList', list.length)
    assert.deepEqual(decodeProtobuf(Buffer.concat([head, list, tail])), {
      apiVersion: 'v1',
      kind: 'PodList',
      metadata: { resourceVersion: '7' },
      items: pods,
    })
  })

  const failures: { name: string; object: { apiVersion: string; kind: string; spec?: unknown }; error: RegExp }[] = [
    { name: 'an unknown kind', object: { apiVersion: 'v9', kind: 'Widget' }, error: /"v9 Widget" .*kind is unknown/ },
    {
      name: 'a value of the wrong type',
      object: { apiVersion: 'v1', kind: 'Pod', spec: { nodeName: 7 } },
      error: /"nodeName" .*number where string/,
    },
    {
      name: 'a list that is none',
      object: { apiVersion: 'v1', kind: 'Pod', spec: { containers: 'web' } },
      error: /"containers" .*string where object/,
    },
  ]
  for (const { name, object, error } of failures) {
    it(`refuses ${name}`, () => {
      assert.throws(() => encodeProtobuf(object), { name: 'TypeError', message: error, code: 'FAIRLEAD_KUBE_PROTOBUF' })
    })
  }
})
