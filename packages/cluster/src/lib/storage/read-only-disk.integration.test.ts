import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { openStore } from './store.ts'

const isRoot = process.platform === 'linux' && process.getuid?.() === 0
const isSkipped = !isRoot && process.env['CI'] !== 'true'
if (isSkipped) process.stderr.write('skipped: the test of a read-only disk mounts a tmpfs, which needs root on Linux\n')

describe('a disk that is read-only', { skip: isSkipped, timeout: 600_000 }, () => {
  it('is named when a store is opened on it, new or old, and harms nothing', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'fairlead-read-only-'))
    mount('-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', dir)
    try {
      const old = join(dir, 'old')
      {
        await using store = await openStore({ dir: old })
        await store.put('pods', 'a/kept', () => Buffer.from('kept'))
      }
      mount('-o', 'remount,ro', dir)
      for (const { path, why } of [
        { path: old, why: /^Cannot write to the store ".*": EROFS: read-only file system/ },
        // Node says ENOENT of a folder that cannot be made there.
        { path: join(dir, 'new'), why: /^Cannot write to the store ".*": E(ROFS|NOENT): / },
      ]) {
        await assert.rejects(openStore({ dir: path }), (error: Error & { code?: string; hint?: string }) => {
          assert.equal(error.code, 'FAIRLEAD_CLUSTER_STORAGE_WRITE')
          assert.match(error.message, why)
          assert.match(error.hint ?? '', /permissions/)
          return true
        })
      }
      mount('-o', 'remount,rw', dir)
      await using store = await openStore({ dir: old })
      assert.equal(store.get('pods', 'a/kept')?.bytes.toString(), 'kept')
    } finally {
      spawnSync('umount', [dir])
      rmSync(dir, { recursive: true, force: true })
    }
  })
})

function mount(...args: string[]): void {
  const mounted = spawnSync('mount', args)
  assert.equal(mounted.status, 0, String(mounted.stderr))
}
