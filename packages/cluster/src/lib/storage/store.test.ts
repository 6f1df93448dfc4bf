import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import type { Disk } from './disk.ts'
import { disk } from './disk.ts'
import type { StoreEvent } from './history.ts'
import { openStore } from './store.ts'
import type { Durability, Store, StoreOptions } from './store.ts'

function temporaryDirectory(): { path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'fairlead-store-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

const small = { segmentBytes: 64 * 1024 }

function value(text: string): (revision: number) => Buffer {
  return (revision) => Buffer.from(JSON.stringify({ text, revision }))
}

function textOf(store: Store, resource: string, id: string): unknown {
  const entry = store.get(resource, id)
  return entry === undefined ? undefined : JSON.parse(entry.bytes.toString()).text
}

function ids(store: Store, resource: string, options = {}): string[] {
  return Array.from(store.list(resource, options), (entry) => entry.id)
}

for (const durability of ['strict', 'relaxed', 'memory'] satisfies Durability[]) {
  describe(`openStore (${durability})`, () => {
    function open(dir: string, options: Partial<StoreOptions> = {}): Promise<Store> {
      return openStore({ dir, durability, ...small, ...options })
    }

    it('writes the revision into the object and counts up by one', async () => {
      using dir = temporaryDirectory()
      await using store = await open(dir.path)
      const first = await store.put('pods', 'a/x', value('1'))
      const second = await store.put('pods', 'a/y', value('2'))
      assert.deepEqual([first.revision, second.revision, store.revision], [1, 2, 2])
      assert.deepEqual(JSON.parse(first.bytes.toString()), { text: '1', revision: 1 })
    })

    it('compares before it swaps', async () => {
      using dir = temporaryDirectory()
      await using store = await open(dir.path)
      await store.put('pods', 'a/x', value('1'), 0)
      const conflict = { code: 'FAIRLEAD_CLUSTER_STORAGE_CONFLICT' }
      await assert.rejects(store.put('pods', 'a/x', value('2'), 0), conflict)
      await assert.rejects(store.put('pods', 'a/x', value('2'), 7), conflict)
      await store.put('pods', 'a/x', value('2'), 1)
      await assert.rejects(store.delete('pods', 'a/x', 1), conflict)
      await store.delete('pods', 'a/x', 2)
      assert.equal(store.get('pods', 'a/x'), undefined)
    })

    it('lets exactly one of many simultaneous creates win', async () => {
      using dir = temporaryDirectory()
      await using store = await open(dir.path)
      const attempts = Array.from({ length: 20 }, (_, n) => store.put('pods', 'a/x', value(String(n)), 0))
      const outcomes = await Promise.allSettled(attempts)
      assert.equal(outcomes.filter((outcome) => outcome.status === 'fulfilled').length, 1)
    })

    it('lists in the order of ids, by prefix and after an id', async () => {
      using dir = temporaryDirectory()
      await using store = await open(dir.path)
      await Promise.all(['b/2', 'a/1', 'ab/1', 'b/1', 'a/3'].map((id) => store.put('pods', id, value(id))))
      assert.deepEqual(ids(store, 'pods'), ['a/1', 'a/3', 'ab/1', 'b/1', 'b/2'])
      assert.deepEqual(ids(store, 'pods', { prefix: 'a/' }), ['a/1', 'a/3'])
      assert.deepEqual(ids(store, 'pods', { prefix: 'b/', after: 'b/1' }), ['b/2'])
      assert.deepEqual(ids(store, 'nodes'), [])
    })

    it('lists the state of an earlier revision', async () => {
      using dir = temporaryDirectory()
      await using store = await open(dir.path)
      await store.put('pods', 'a/1', value('old'))
      await store.put('pods', 'a/2', value('old'))
      await store.put('pods', 'a/1', value('new'))
      await store.delete('pods', 'a/2')
      await store.put('pods', 'a/3', value('new'))
      const past = Array.from(store.list('pods', { revision: 2 }), ({ id, revision }) => [id, revision])
      assert.deepEqual(past, [
        ['a/1', 1],
        ['a/2', 2],
      ])
    })

    it('tells watchers every change after their revision, in order and once', async () => {
      using dir = temporaryDirectory()
      await using store = await open(dir.path)
      await store.put('pods', 'a/1', value('1'))
      await store.put('nodes', 'n', value('n'))
      await store.put('pods', 'a/1', value('2'))
      const seen: StoreEvent[] = []
      const subscription = store.subscribe('pods', 1, (event) => seen.push(event))
      await store.delete('pods', 'a/1')
      subscription.unsubscribe()
      await store.put('pods', 'a/1', value('3'))
      const events = [...subscription.backlog, ...seen]
      assert.deepEqual(
        events.map(({ revision, operation, previous }) => [revision, operation, previous?.revision]),
        [
          [3, 'put', 1],
          [4, 'delete', 3],
        ],
      )
    })

    it('refuses to look back past forgotten history', async () => {
      using dir = temporaryDirectory()
      await using store = await open(dir.path, { history: { events: 3, bytes: 1 << 20 } })
      for (let n = 0; n < 10; n += 1) await store.put('pods', 'a/1', value(String(n)))
      const gone = { code: 'FAIRLEAD_CLUSTER_STORAGE_GONE' }
      assert.throws(() => store.subscribe('pods', 6, () => undefined), gone)
      assert.throws(() => [...store.list('pods', { revision: 6 })], gone)
      assert.equal(store.subscribe('pods', 7, () => undefined).backlog.length, 3)
      store.compact(9)
      assert.throws(() => store.subscribe('pods', 8, () => undefined), gone)
    })
  })
}

describe('openStore', () => {
  it('brings everything back, with history and the next revision', async () => {
    using dir = temporaryDirectory()
    {
      await using store = await openStore({ dir: dir.path, ...small })
      await store.put('pods', 'a/1', value('1'))
      await store.put('pods', 'a/2', value('2'))
      await store.delete('pods', 'a/1')
    }
    await using store = await openStore({ dir: dir.path, ...small })
    assert.deepEqual([ids(store, 'pods'), store.revision], [['a/2'], 3])
    assert.equal(store.subscribe('pods', 1, () => undefined).backlog.length, 2)
    assert.equal((await store.put('pods', 'a/3', value('3'))).revision, 4)
  })

  it('replaces a long log by a snapshot and brings that back', async () => {
    using dir = temporaryDirectory()
    const options = { dir: dir.path, ...small, snapshotAfterBytes: 100_000, history: { events: 10, bytes: 1 << 20 } }
    {
      await using store = await openStore(options)
      await store.put('pods', 'a/kept', value('kept'))
      for (let n = 0; n < 200; n += 1) {
        await Promise.all(Array.from({ length: 10 }, (_, i) => store.put('pods', `a/${i}`, value('x'.repeat(500)))))
      }
    }
    await using store = await openStore(options)
    assert.equal(store.revision, 2001)
    assert.equal(textOf(store, 'pods', 'a/kept'), 'kept')
    assert.equal(store.count('pods'), 11)
    assert.throws(() => store.subscribe('pods', 1, () => undefined), { code: 'FAIRLEAD_CLUSTER_STORAGE_GONE' })
  })

  it('stores an object larger than a segment', async () => {
    using dir = temporaryDirectory()
    const text = 'x'.repeat(300_000)
    {
      await using store = await openStore({ dir: dir.path, ...small })
      await store.put('secrets', 'a/big', value(text))
      await store.put('secrets', 'a/small', value('s'))
    }
    await using store = await openStore({ dir: dir.path, ...small })
    assert.equal(textOf(store, 'secrets', 'a/big'), text)
    assert.equal(textOf(store, 'secrets', 'a/small'), 's')
  })

  it('shows a write to nobody before the disk has it', async () => {
    using dir = temporaryDirectory()
    let release: () => void = () => undefined
    const held = new Promise<void>((resolve) => (release = resolve))
    const slow: Disk = {
      ...disk,
      // Larger than what is written on the main thread, so that the pool is used.
      sync: async (fd) => {
        await held
        await disk.sync(fd)
      },
    }
    await (await openStore({ dir: dir.path, ...small })).close()
    const store = await openStore({ dir: dir.path, ...small, disk: slow })
    let seen = 0
    store.subscribe('pods', undefined, () => (seen += 1))
    const writes = Promise.all(Array.from({ length: 8 }, (_, n) => store.put('pods', `a/${n}`, value('v'))))
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.deepEqual([seen, store.revision, store.count('pods')], [0, 0, 0])
    release()
    await writes
    assert.deepEqual([seen, store.revision], [8, 8])
    await store.close()
  })

  for (const [code, expected] of [
    ['ENOSPC', 'FAIRLEAD_CLUSTER_STORAGE_FULL'],
    ['EIO', 'FAIRLEAD_CLUSTER_STORAGE_WRITE'],
  ] as const) {
    it(`fails writes while the disk says ${code}, keeps reading, and recovers without the failed ones`, async () => {
      using dir = temporaryDirectory()
      let broken = false
      function check(): void {
        if (broken) throw Object.assign(new Error(code), { code })
      }
      const failing: Disk = {
        ...disk,
        syncNow: (fd) => (check(), disk.syncNow(fd)),
        sync: async (fd) => (check(), await disk.sync(fd)),
        write: async (fd, bytes, position) => (check(), await disk.write(fd, bytes, position)),
      }
      {
        await using store = await openStore({ dir: dir.path, ...small, disk: failing })
        await store.put('pods', 'a/before', value('1'))
        broken = true
        // The bytes of the first reach the file, only the sync fails: they must not come back at the next start.
        await assert.rejects(store.put('pods', 'a/lost', value('2')), { code: expected })
        await assert.rejects(store.put('pods', 'a/lost', value('3')), { code: expected })
        assert.equal(textOf(store, 'pods', 'a/before'), '1')
        broken = false
        await eventually(() => store.put('pods', 'a/after', value('4')))
      }
      await using store = await openStore({ dir: dir.path, ...small })
      assert.deepEqual(ids(store, 'pods'), ['a/after', 'a/before'])
    })
  }

  it('refuses a directory that another process holds, and takes over from one that is gone', async () => {
    using dir = temporaryDirectory()
    await using _store = await openStore({ dir: dir.path, ...small })
    await assert.rejects(openStore({ dir: dir.path, ...small }), { code: 'FAIRLEAD_CLUSTER_STORAGE_LOCKED' })
  })
})

async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + 30_000
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

describe('openStore (relaxed) on a disk that refuses to sync', () => {
  it('tells of it', async () => {
    using dir = temporaryDirectory()
    const { promise: told, resolve } = Promise.withResolvers<unknown>()
    const refusal = new Error('EIO')
    let isWell = true
    const failing: Disk = { ...disk, sync: (fd) => (isWell ? disk.sync(fd) : Promise.reject(refusal)) }
    await using store = await openStore({
      dir: dir.path,
      durability: 'relaxed',
      ...small,
      disk: failing,
      onError: resolve,
    })
    await store.put('pods', 'a/x', value('1'))
    isWell = false
    assert.equal(await told, refusal)
  })
})
