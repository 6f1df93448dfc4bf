import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { decodeRecords } from './record.ts'
import { recover } from './recovery.ts'
import { segmentHeaderBytes, segmentName } from './segment.ts'
import { openStore } from './store.ts'

const segmentBytes = 16 * 1024

describe('a crash', () => {
  it('at any byte of the last writes loses only what comes after that byte', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fairlead-crash-'))
    try {
      const original = join(dir, 'original')
      {
        await using store = await openStore({ dir: original, segmentBytes })
        for (let n = 1; n <= 6; n += 1) await store.put('pods', `a/${n}`, () => Buffer.from(`{"n":${n}}`))
      }
      const log = readFileSync(join(original, segmentName(1)))
      const ends = recordEnds(log)
      const torn = join(dir, 'torn')
      cpSync(original, torn, { recursive: true })
      for (let cut = ends[2] ?? 0; cut <= (ends.at(-1) ?? 0); cut += 1) {
        const whole = ends.filter((end) => end <= cut).length
        for (const bytes of [zeroedFrom(log, cut), garbledAt(log, cut), log.subarray(0, cut)]) {
          writeFileSync(join(torn, segmentName(1)), bytes)
          const { changes, position } = await recover(torn)
          if (position !== undefined) closeSync(position.fd)
          const lost = bytes.length === log.length && bytes[cut] === log[cut] ? changes.length : whole
          assert.equal(changes.length, lost, `cut at ${cut}`)
          assert.ok(changes.length >= whole)
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
        for (let n = 1; n <= 3; n += 1) await store.put('pods', `a/${n}`, () => Buffer.from('same length'))
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

  it('by kill -9 in the middle of writes loses no acknowledged write and leaves a lock that is taken over', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fairlead-crash-'))
    try {
      const acknowledged = new Map<string, number>()
      for (let round = 0; round < 3; round += 1) {
        const writer = fileURLToPath(new URL('./testdata/writer.ts', import.meta.url))
        const child = spawn(process.execPath, ['--conditions=@fairlead/source', writer, dir, String(round)], {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        let lines = 0
        for await (const line of createInterface({ input: child.stdout })) {
          const [id = '', revision] = line.split(' ')
          acknowledged.set(id, Number(revision))
          lines += 1
          if (lines === 400) child.kill('SIGKILL')
        }
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
        assert.equal(child.signalCode, 'SIGKILL')
      }
      await using store = await openStore({ dir, segmentBytes })
      for (const [id, revision] of acknowledged) {
        const entry = store.get('pods', id)
        assert.ok(entry !== undefined && entry.revision >= revision, `${id} at ${revision}`)
      }
      assert.ok(acknowledged.size > 100)
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })
})

function recordEnds(log: Buffer): number[] {
  const ends: number[] = []
  let at = segmentHeaderBytes
  decodeRecords(log, at, () => {
    at += 8 + log.readUInt32BE(at)
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
