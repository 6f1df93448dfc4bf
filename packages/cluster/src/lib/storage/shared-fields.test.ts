import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { SharedFields } from './shared-fields.ts'
import { StoredEntry } from './stored-entry.ts'
import { openStore } from './store.ts'

const fields = (of: string): string =>
  `{"f:metadata":{"f:labels":{".":{},"f:${of}":{}}},"f:spec":{"f:containers":{"k:{\\"name\\":\\"${of}\\"}":{".":{},"f:image":{},"f:name":{},"f:resources":{}}}}}`

function object(name: string, ...texts: readonly string[]): Buffer {
  const managers = texts.map((text, index) => `{"manager":"m${index}","fieldsV1":${text},"subresource":"status"}`)
  return Buffer.from(`{"metadata":{"name":"${name}","managedFields":[${managers.join(',')}]},"spec":{"größe":"ä"}}`)
}

/** What an entry copies to a place in the middle of other bytes. */
function copyOf({ piece }: StoredEntry, place: number): Buffer {
  const target = Buffer.alloc(piece.length + 2 * place, '.')
  assert.equal(piece.copy(target, place), piece.length)
  assert.equal(
    target.toString('latin1', 0, place) + target.toString('latin1', place + piece.length),
    '.'.repeat(2 * place),
  )
  return target.subarray(place, place + piece.length)
}

describe('SharedFields', () => {
  const cases = [
    { name: 'one owner', texts: [fields('web')], shared: [fields('web')] },
    { name: 'two owners', texts: [fields('web'), fields('kubelet')], shared: [fields('web'), fields('kubelet')] },
    {
      name: 'an owner of little between them',
      texts: [fields('a'), '{}', fields('b')],
      shared: [fields('a'), fields('b')],
    },
    { name: 'an end that braces in a name hide', texts: [fields('{{{')], shared: [] },
    { name: 'an end that braces in a name feign', texts: [fields('}}}}}}}}')], shared: [] },
    { name: 'no fields at all', texts: [], shared: [] },
    { name: 'null', texts: ['null'], shared: [] },
  ]
  for (const { name, texts, shared } of cases) {
    it(`gives back every byte of objects with ${name}`, () => {
      const known = new SharedFields()
      const objects = ['a', 'b', 'longer-than-that', 'd'].map((each) => object(each, ...texts))
      const entries = objects.map((bytes) => new StoredEntry('pods', 'a/a', 1, bytes))
      for (const entry of entries) entry.fold(known)
      for (const [index, entry] of entries.entries()) {
        assert.deepEqual(entry.bytes.toString(), objects[index]?.toString())
        assert.deepEqual(copyOf(entry, 7).toString(), objects[index]?.toString())
        assert.equal(entry.size, objects[index]?.length)
      }
      const last = entries.at(-1)
      const less = shared.reduce((sum, text) => sum + text.length, 0)
      if (shared.length > 0 && last !== undefined) assert.equal(last.ownSize, last.size - less)
    })
  }

  it('shares a text from the second object on, whatever the others are', () => {
    const known = new SharedFields()
    const entries = ['a', 'b', 'a', 'b', 'a'].map((of) => new StoredEntry('pods', of, 1, object(of, fields(of))))
    for (const entry of entries) entry.fold(known)
    assert.deepEqual(
      entries.map(({ isFolded }) => isFolded),
      [false, false, true, true, true],
    )
    const [first, second] = [entries[2], entries[4]].map(
      (entry) => known.find(entry?.bytes ?? Buffer.alloc(0))[0]?.text,
    )
    assert.equal(first?.toString(), fields('a'))
    assert.equal(first, second)
    for (const entry of entries.slice(2)) assert.equal(entry.size - entry.ownSize, fields('a').length)
  })

  it('forgets texts when there are too many, and leaves objects whole', () => {
    const known = new SharedFields({ bytes: 400, met: 2 })
    const names = Array.from({ length: 20 }, (_, index) => `name-${index % 5}`)
    const entries = names.map((of) => new StoredEntry('pods', of, 1, object(of, fields(of))))
    for (const entry of [...entries, ...entries]) entry.fold(known)
    for (const [index, entry] of entries.entries()) {
      const of = names[index] ?? ''
      assert.equal(entry.bytes.toString(), object(of, fields(of)).toString())
    }
  })
})

describe('openStore with objects that have fields in common', () => {
  it('keeps them once, after a full segment and after a start, and shows them whole', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fairlead-shared-'))
    const options = { dir, segmentBytes: 64 << 10, snapshotAfterBytes: 256 << 10 }
    const write = (id: string): Buffer => object(id, fields('web'), fields('kubelet'))
    try {
      {
        await using store = await openStore(options)
        for (let index = 0; index < 600; index += 1) await store.put('pods', `a/${index}`, () => write(String(index)))
        await store.put('example.com/widgets', 'a/1', () => write('widget'))
        await store.put('example.com/widgets', 'a/2', () => write('widget'))
        const folded = [...store.list('pods')].filter(({ isFolded }) => isFolded)
        assert.ok(folded.length > 100, `${folded.length} are folded`)
        for (const { id, bytes } of store.list('pods')) assert.deepEqual(bytes, write(id.slice(2)))
      }
      await using store = await openStore(options)
      const folded = [...store.list('pods')].filter(({ isFolded }) => isFolded)
      assert.ok(folded.length > 590, `${folded.length} are folded`)
      for (const { id, bytes } of store.list('pods')) assert.deepEqual(bytes, write(id.slice(2)))
      const widget = store.get('example.com/widgets', 'a/2')
      // What a version of a definition remembers of an object, it remembers by these very bytes.
      assert.equal(widget?.bytes, widget?.bytes)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })
})
