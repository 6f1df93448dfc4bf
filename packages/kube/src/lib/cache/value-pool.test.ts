import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { ValuePool } from './value-pool.ts'

const pod = (name: string, more: object = {}) =>
  JSON.parse(
    JSON.stringify({
      metadata: {
        name,
        labels: { app: 'shop', tier: 'a long enough value' },
        ownerReferences: [{ uid: 'x'.repeat(36) }],
      },
      spec: { containers: [{ name: 'app', image: 'app:1', ports: [{ containerPort: 8080 }] }], tolerations: [] },
      ...more,
    }),
  )

describe('ValuePool', () => {
  it('shares equal parts of different objects and freezes all of them', () => {
    const pool = new ValuePool()
    const [a, b] = [pool.share(pod('a')), pool.share(pod('b'))]
    assert.deepEqual([a, b], [pod('a'), pod('b')])
    assert.equal(a.spec, b.spec)
    assert.equal(a.metadata.labels, b.metadata.labels)
    assert.notEqual(a.metadata, b.metadata)
    for (const part of [a, a.metadata, a.metadata.labels, a.spec.containers, a.spec.containers[0].ports[0]]) {
      assert.equal(Object.isFrozen(part), true)
    }
  })

  it('gives back the last version when nothing differs, and its parts where they do not', () => {
    const pool = new ValuePool()
    const first = pool.share(pod('a', { status: { phase: 'Pending' } }))
    assert.equal(pool.share(pod('a', { status: { phase: 'Pending' } }), first), first)
    // What a pool remembers is bounded, the last version is at hand: another pool shares with it all the same.
    const next = new ValuePool().share(pod('a', { status: { phase: 'Running' } }), first)
    assert.equal(next.spec, first.spec)
    assert.equal(next.metadata, first.metadata)
    assert.deepEqual(next.status, { phase: 'Running' })
  })

  for (const [name, a, b] of [
    ['arrays and objects', { part: ['x'] }, { part: { 0: 'x' } }],
    ['numbers and their text', { part: { a: 1 } }, { part: { a: '1' } }],
    ['null and absent', { part: { a: null } }, { part: {} }],
    ['true and false', { part: { a: true } }, { part: { a: false } }],
    ['the same values under other keys', { part: { a: 'x', b: 'y' } }, { part: { a: 'y', b: 'x' } }],
    ['1 and 1.5', { part: [1] }, { part: [1.5] }],
    ['one more key', { part: { a: 'x' } }, { part: { a: 'x', b: 'x' } }],
  ] as const) {
    it(`tells apart ${name}`, () => {
      const pool = new ValuePool()
      const first = pool.share(structuredClone(a) as object)
      assert.deepEqual(pool.share(structuredClone(b) as object), b)
      assert.deepEqual(pool.share(structuredClone(b) as object, first), b)
    })
  }

  it('keeps a key named __proto__ a key', () => {
    const text = '{"data":{"__proto__":{"polluted":"yes, quite"},"a":"b"}}'
    const pool = new ValuePool()
    const [first, second] = [pool.share(JSON.parse(text)), pool.share(JSON.parse(text))]
    assert.equal(JSON.stringify(first), text)
    assert.equal(JSON.stringify(second), text)
    assert.equal(first.data.polluted, undefined)
    assert.equal(Object.isFrozen(first.data), true)
  })

  it('gives equal values for a great many different ones, whatever it forgets', () => {
    const pool = new ValuePool()
    let seed = 1
    const random = (below: number): number => (seed = (seed * 48271) % 2147483647) % below
    const value = (depth: number): unknown => {
      const kind = random(depth > 3 ? 4 : 6)
      if (kind === 0) return random(5) === 0 ? null : random(2) === 0
      if (kind === 1) return random(1000) / 4
      if (kind < 4) return `value number ${random(300)}`
      if (kind === 4) return Array.from({ length: random(4) }, () => value(depth + 1))
      return Object.fromEntries(Array.from({ length: random(5) }, () => [`k${random(9)}`, value(depth + 1)]))
    }
    let last: object | undefined
    for (let count = 0; count < 20_000; count += 1) {
      const object = { root: value(0), other: value(0) }
      const expected = JSON.stringify(object)
      last = pool.share(object, last)
      assert.equal(JSON.stringify(last), expected)
    }
  })
})
