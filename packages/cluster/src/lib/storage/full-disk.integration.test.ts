import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { codeOf } from '../errors.ts'
import { openStore } from './store.ts'
import type { Store } from './store.ts'

const isRoot = process.platform === 'linux' && process.getuid?.() === 0
const isSkipped = !isRoot && process.env['CI'] !== 'true'
if (isSkipped) process.stderr.write('skipped: the test of a full disk mounts a tmpfs, which needs root on Linux\n')

describe('a full disk', { skip: isSkipped, timeout: 600_000 }, () => {
  it('fails writes with the way out, keeps serving reads, and recovers with everything acknowledged', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fairlead-full-'))
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', dir])
    assert.equal(mounted.status, 0, String(mounted.stderr))
    try {
      const ballast = join(dir, 'ballast')
      writeFileSync(ballast, Buffer.alloc(4 << 20))
      const data = join(dir, 'store')
      const acknowledged = new Map<string, number>()
      {
        await using store = await openStore({ dir: data, segmentBytes: 1 << 20 })
        const failure = await writeUntilFailure(store, acknowledged)
        assert.equal(codeOf(failure), 'FAIRLEAD_CLUSTER_STORAGE_FULL')
        assert.match(failure.message, /^Cannot write to the store ".*": no space left on the device$/)
        assert.ok(acknowledged.size > 100)
        checkAll(store, acknowledged)
        assert.equal(store.count('pods'), acknowledged.size)
        rmSync(ballast)
        await eventually(() => write(store, 'a/recovered', acknowledged))
      }
      await using store = await openStore({ dir: data, segmentBytes: 1 << 20 })
      checkAll(store, acknowledged)
    } finally {
      spawnSync('umount', [dir])
      rmSync(dir, { recursive: true, force: true })
    }
  })
})

async function writeUntilFailure(store: Store, acknowledged: Map<string, number>): Promise<Error> {
  for (let n = 0; n < 100_000; n += 1) {
    try {
      await write(store, `a/${n}`, acknowledged)
    } catch (error) {
      if (error instanceof Error) return error
      throw error
    }
  }
  throw new Error('the disk was never full')
}

async function write(store: Store, id: string, acknowledged: Map<string, number>): Promise<void> {
  const entry = await store.put('pods', id, (revision) =>
    Buffer.from(JSON.stringify({ revision, pad: 'x'.repeat(10_000) })),
  )
  acknowledged.set(id, entry.revision)
}

function checkAll(store: Store, acknowledged: ReadonlyMap<string, number>): void {
  for (const [id, revision] of acknowledged) assert.equal(store.get('pods', id)?.revision, revision, id)
}

async function eventually(attempt: () => Promise<void>): Promise<void> {
  const deadline = Date.now() + 30_000
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}
