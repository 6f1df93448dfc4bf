import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { CrashingDisk } from './testdata/crashing-disk.ts'
import { decodeRecords, frameLength } from './record.ts'
import { recover } from './recovery.ts'
import type { Recovered } from './recovery.ts'
import { segmentHeaderBytes, segmentName } from './segment.ts'
import { openStore } from './store.ts'

const segmentBytes = 16 * 1024
/** What a header says; the rest of it is zeros. */
const headerUsed = 24

describe('a crash', () => {
  it('at any byte of the last writes loses only what comes after that byte', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fairlead-crash-'))
    try {
      const original = join(dir, 'original')
      {
        await using store = await openStore({ dir: original, segmentBytes })
        const write = (n: number): Promise<unknown> => store.put('pods', `a/${n}`, () => Buffer.from(`{"n":${n}}`))
        for (let n = 1; n <= 3; n += 1) await write(n)
        // One batch: what a crash can tear is what was written at once.
        await Promise.all([4, 5, 6, 7].map(write))
      }
      const log = readFileSync(join(original, segmentName(1)))
      const ends = recordEnds(log)
      const torn = join(dir, 'torn')
      cpSync(original, torn, { recursive: true })
      for (let cut = ends[2] ?? 0; cut <= (ends.at(-1) ?? 0); cut += 1) {
        const whole = ends.filter((end) => end <= cut).length
        for (const bytes of [zeroedFrom(log, cut), garbledAt(log, cut), log.subarray(0, cut)]) {
          writeFileSync(join(torn, segmentName(1)), bytes)
          const { changes, position } = await recovered(torn)
          if (position !== undefined) closeSync(position.fd)
          const lost = bytes.length === log.length && bytes[cut] === log[cut] ? changes : whole
          assert.equal(changes, lost, `cut at ${cut}`)
          assert.ok(changes >= whole)
        }
      }
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })

  it('never brings a torn write back behind a later one', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fairlead-crash-'))
    try {
      {
        await using store = await openStore({ dir, segmentBytes })
        await Promise.all([1, 2, 3].map((n) => store.put('pods', `a/${n}`, () => Buffer.from('same length'))))
      }
      const path = join(dir, segmentName(1))
      const log = readFileSync(path)
      const [, second = 0] = recordEnds(log)
      // The second of three equally long records is torn; the third is whole.
      log[second - 1] = 0
      writeFileSync(path, log)
      {
        await using store = await openStore({ dir, segmentBytes })
        await store.put('pods', 'a/9', () => Buffer.from('same length'))
      }
      await using store = await openStore({ dir, segmentBytes })
      assert.deepEqual(
        Array.from(store.list('pods'), (entry) => entry.id),
        ['a/1', 'a/9'],
      )
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })

  it('inside acknowledged history is reported, not skipped', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fairlead-crash-'))
    try {
      {
        await using store = await openStore({ dir, segmentBytes })
        for (let n = 1; n <= 40; n += 1) await store.put('pods', `a/${n}`, () => Buffer.alloc(1000, 65))
      }
      const path = join(dir, segmentName(1))
      const log = readFileSync(path)
      log[100] = 0
      writeFileSync(path, log)
      await assert.rejects(openStore({ dir, segmentBytes }), { code: 'FAIRLEAD_CLUSTER_STORAGE_CORRUPT' })
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })

  it('is told from a bit that flips in what was acknowledged, at every byte of the last segment', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fairlead-crash-'))
    try {
      {
        await using store = await openStore({ dir, segmentBytes })
        for (let n = 1; n <= 5; n += 1) await store.put('pods', `a/${n}`, () => Buffer.from(`{"n":${n}}`))
      }
      const path = join(dir, segmentName(1))
      const log = readFileSync(path)
      const ends = recordEnds(log)
      // Behind the last batch there is nothing that could prove it: a flip there looks like a torn write.
      for (let at = 0; at < (ends[3] ?? 0); at += 1) {
        if (at >= headerUsed && at < segmentHeaderBytes) continue
        const flipped = Buffer.from(log)
        flipped[at] = (flipped[at] ?? 0) ^ 0x10
        writeFileSync(path, flipped)
        await assert.rejects(recovered(dir), { code: 'FAIRLEAD_CLUSTER_STORAGE_CORRUPT' }, `byte ${at}`)
        assert.ok(readFileSync(path).equals(flipped), 'the evidence stays')
      }
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })

  it('by kill -9 in the middle of writes loses nothing acknowledged or watched, and leaves a lock that is taken over', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fairlead-crash-'))
    try {
      const told = new Map<string, number>()
      let newest = 0
      for (let round = 0; round < 3; round += 1) {
        const writer = fileURLToPath(new URL('./testdata/writer.ts', import.meta.url))
        const child = spawn(process.execPath, ['--conditions=@fairlead/source', writer, dir, String(round)], {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        const lastOfBefore = newest
        const killAfter = 300 + Math.floor(Math.random() * 600)
        let lines = 0
        for await (const line of createInterface({ input: child.stdout })) {
          const [id = '', text] = line.split(' ')
          const revision = Number(text)
          assert.ok(revision > lastOfBefore, 'revisions never go back')
          told.set(id, Math.max(told.get(id) ?? 0, revision))
          newest = Math.max(newest, revision)
          lines += 1
          if (lines === 10) await assert.rejects(openStore({ dir }), { code: 'FAIRLEAD_CLUSTER_STORAGE_LOCKED' })
          if (lines === killAfter) child.kill('SIGKILL')
        }
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
        assert.equal(child.signalCode, 'SIGKILL')
      }
      await using store = await openStore({ dir, segmentBytes })
      assert.ok(store.revision >= newest)
      for (const [id, revision] of told) {
        const entry = store.get('pods', id)
        assert.ok(entry !== undefined && entry.revision >= revision, `${id} at ${revision}`)
      }
      assert.ok(told.size > 100)
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })

  it('of the whole machine at any moment keeps what was acknowledged or watched, whatever sectors the disk had written', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fairlead-crash-'))
    try {
      const told = new Map<string, number>()
      let newest = 0
      for (let round = 0; round < 40; round += 1) {
        const machine = new CrashingDisk(5 + round)
        const opening = openStore({ dir, segmentBytes, snapshotAfterBytes: 40_000, disk: machine })
        const store = await opening.catch((error: unknown) => {
          if (!machine.isDown) throw error
        })
        if (store === undefined) continue
        assert.ok(store.revision >= newest, 'revisions never go back')
        for (const [id, revision] of told) assert.ok((store.get('pods', id)?.revision ?? 0) >= revision, id)
        const tell = (id: string, revision: number): void => {
          if (machine.isDown) return
          assert.ok(revision > (told.get(id) ?? 0))
          told.set(id, revision)
          newest = Math.max(newest, revision)
        }
        store.subscribe('pods', undefined, ({ entry }) => tell(entry.id, entry.revision))
        const writers = Array.from({ length: 1 + (round % 5) }, async (_, writer) => {
          for (let n = 0; n < 100 && !machine.isDown; n += 1) {
            await store.put('pods', `a/${writer}-${n % 7}`, (revision) => Buffer.alloc(100 + (revision % 900), 97))
          }
        })
        await Promise.allSettled(writers)
        await store.close()
      }
      assert.ok(newest > 200, String(newest))
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })
})

async function recovered(dir: string): Promise<Recovered & { changes: number }> {
  let changes = 0
  const count = (): void => void (changes += 1)
  return { ...(await recover(dir, { startAt: () => undefined, load: count, replay: count })), changes }
}

function recordEnds(log: Buffer): number[] {
  const ends: number[] = []
  let at = segmentHeaderBytes
  decodeRecords(log, at, () => {
    at += frameLength(log, at)
    ends.push(at)
  })
  return ends
}

function zeroedFrom(log: Buffer, cut: number): Buffer {
  return Buffer.concat([log.subarray(0, cut), Buffer.alloc(log.length - cut)])
}

function garbledAt(log: Buffer, cut: number): Buffer {
  const copy = Buffer.from(log)
  copy.fill(0xff, cut, cut + 16)
  return copy
}
