import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { restoreStore } from './restore.ts'
import { segmentName } from './segment.ts'
import { openStore } from './store.ts'
import type { Store } from './store.ts'

function scratch(): { path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'fairlead-restore-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

async function put(store: Store, id: string, text: string): Promise<number> {
  return (await store.put('pods', id, () => Buffer.from(text))).revision
}

function content(store: Store): Record<string, string> {
  return Object.fromEntries(Array.from(store.list('pods'), ({ id, bytes }) => [id, bytes.toString()]))
}

/** A store that was backed up, and written to after that. */
async function saveAndGoOn(dir: string, file: string): Promise<void> {
  await using store = await openStore({ dir })
  await put(store, 'a/kept', 'saved')
  await put(store, 'a/changed', 'saved')
  writeFileSync(file, Buffer.concat([...store.backup().chunks]))
  await put(store, 'a/changed', 'later')
  await put(store, 'a/new', 'later')
}

describe('backup', () => {
  it('is the state at one revision, whatever is written while it is read', async () => {
    using dir = scratch()
    await using store = await openStore({ dir: '', durability: 'memory' })
    const textOf = (n: number): string => `${n} `.repeat(2_000)
    for (let n = 0; n < 500; n += 1) await put(store, `a/${n}`, textOf(n))
    const { revision, objects, chunks } = store.backup()
    assert.deepEqual([revision, objects], [500, 500])
    const file = join(dir.path, 'backup')
    const read: Buffer[] = []
    for (const chunk of chunks) {
      read.push(chunk)
      await put(store, 'a/7', 'written meanwhile')
      await put(store, `a/late-${read.length}`, 'written meanwhile')
    }
    assert.ok(read.length > 3)
    writeFileSync(file, Buffer.concat(read))
    await restoreStore(file, join(dir.path, 'storage'))
    await using restored = await openStore({ dir: join(dir.path, 'storage') })
    assert.equal(restored.count('pods'), 500)
    for (let n = 0; n < 500; n += 1) assert.equal(restored.get('pods', `a/${n}`)?.bytes.toString(), textOf(n))
  })
})

describe('restoreStore', () => {
  it('brings the objects back, and every revision a client may know is gone', async () => {
    using dir = scratch()
    const [storage, file] = [join(dir.path, 'storage'), join(dir.path, 'backup')]
    await saveAndGoOn(storage, file)
    const info = await restoreStore(file, storage)
    await using store = await openStore({ dir: storage })
    assert.deepEqual(content(store), { 'a/kept': 'saved', 'a/changed': 'saved' })
    assert.deepEqual(info, { revision: store.revision, objects: 2 })
    const gone = { code: 'FAIRLEAD_CLUSTER_STORAGE_GONE' }
    for (const revision of [1, 2, 4]) assert.throws(() => store.subscribe('pods', revision, () => undefined), gone)
    assert.equal(await put(store, 'a/next', 'next'), info.revision + 1)
  })

  it('never gives a revision again that was given after an earlier restore', async () => {
    using dir = scratch()
    const [storage, file] = [join(dir.path, 'storage'), join(dir.path, 'backup')]
    await saveAndGoOn(storage, file)
    await restoreStore(file, storage)
    let newest = 0
    {
      await using store = await openStore({ dir: storage })
      newest = await put(store, 'a/x', 'between')
    }
    const { revision } = await restoreStore(file, storage)
    assert.ok(revision > newest)
  })

  it('replaces a store that is damaged', async () => {
    using dir = scratch()
    const [storage, file] = [join(dir.path, 'storage'), join(dir.path, 'backup')]
    await saveAndGoOn(storage, file)
    const segment = join(storage, segmentName(1))
    const log = readFileSync(segment)
    log[10] = 0xff
    writeFileSync(segment, log)
    await assert.rejects(openStore({ dir: storage }), { code: 'FAIRLEAD_CLUSTER_STORAGE_CORRUPT' })
    await restoreStore(file, storage)
    await using store = await openStore({ dir: storage })
    assert.equal(store.count('pods'), 2)
  })

  it('refuses a backup with any bit wrong or bytes missing, and leaves the store as it is', async () => {
    using dir = scratch()
    const [storage, file] = [join(dir.path, 'storage'), join(dir.path, 'backup')]
    await saveAndGoOn(storage, file)
    const good = readFileSync(file)
    for (let at = 0; at < good.length; at += 1) {
      const bad = Buffer.from(good)
      bad[at] = (bad[at] ?? 0) ^ 1
      writeFileSync(file, bad)
      await assert.rejects(restoreStore(file, storage), { code: 'FAIRLEAD_CLUSTER_STORAGE_CORRUPT' }, `byte ${at}`)
      writeFileSync(file, good.subarray(0, at))
      await assert.rejects(restoreStore(file, storage), { code: 'FAIRLEAD_CLUSTER_STORAGE_CORRUPT' }, `${at} bytes`)
    }
    await using store = await openStore({ dir: storage })
    assert.equal(store.count('pods'), 3)
  })

  it('refuses a store that is in use', async () => {
    using dir = scratch()
    const [storage, file] = [join(dir.path, 'storage'), join(dir.path, 'backup')]
    await saveAndGoOn(storage, file)
    await using store = await openStore({ dir: storage })
    await assert.rejects(restoreStore(file, storage), { code: 'FAIRLEAD_CLUSTER_STORAGE_LOCKED' })
    assert.equal(store.count('pods'), 3)
  })

  it('is whole or absent when it is interrupted at any step', async () => {
    using dir = scratch()
    const [storage, file] = [join(dir.path, 'storage'), join(dir.path, 'backup')]
    await saveAndGoOn(storage, file)
    const before = join(dir.path, 'before')
    cpSync(storage, before, { recursive: true })
    await restoreStore(file, storage)
    const after = join(dir.path, 'after')
    renameSync(storage, after)
    for (const { step, names, count } of [
      { step: 'while it is written', names: { storage: before, 'storage.restoring': after }, count: 3 },
      { step: 'when it is complete', names: { storage: before, 'storage.restored': after }, count: 3 },
      {
        step: 'when the old one is away',
        names: { 'storage.replaced': before, 'storage.restored': after },
        count: 2,
      },
      { step: 'before the old one is removed', names: { 'storage.replaced': before, storage: after }, count: 2 },
    ]) {
      using world = scratch()
      for (const [name, from] of Object.entries(names)) cpSync(from, join(world.path, name), { recursive: true })
      {
        await using store = await openStore({ dir: join(world.path, 'storage') })
        assert.equal(store.count('pods'), count, step)
      }
      await restoreStore(file, join(world.path, 'storage'))
      await using again = await openStore({ dir: join(world.path, 'storage') })
      assert.equal(again.count('pods'), 2, step)
      assert.ok(!existsSync(join(world.path, 'storage.replaced')))
    }
  })
})
