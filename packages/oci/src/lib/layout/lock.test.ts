import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { withLock } from './lock.ts'
import { currentProcess } from './process-identity.ts'

describe('withLock', () => {
  it('lets one in at a time and leaves nothing behind', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'fairlead-lock-'))
    let inside = 0
    let most = 0
    const act = async (): Promise<void> => {
      inside += 1
      most = Math.max(most, inside)
      await new Promise((resolve) => setImmediate(resolve))
      inside -= 1
    }
    await Promise.all(Array.from({ length: 20 }, () => withLock(join(dir, 'l'), act)))
    assert.equal(most, 1)
    assert.deepEqual(await readdir(dir), [])
    await rm(dir, { recursive: true })
  })

  it('gives up when a living process keeps the lock, and at once when asked to', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'fairlead-lock-'))
    const path = join(dir, 'l')
    await writeFile(path, `${currentProcess()}|other`)
    const act = async (): Promise<void> => assert.fail('the lock was not held')
    await assert.rejects(withLock(path, act, { timeoutMs: 20 }), { code: 'FAIRLEAD_OCI_LAYOUT_LOCKED' })
    await assert.rejects(withLock(path, act, { signal: AbortSignal.abort() }), { name: 'AbortError' })
    await rm(dir, { recursive: true })
  })

  it('leaves the lock of another machine alone', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'fairlead-lock-'))
    await writeFile(join(dir, 'l'), `not-${hostname()}|1|1|x`)
    await assert.rejects(
      withLock(join(dir, 'l'), async () => {}, { timeoutMs: 20 }),
      { code: 'FAIRLEAD_OCI_LAYOUT_LOCKED' },
    )
    await rm(dir, { recursive: true })
  })
})
