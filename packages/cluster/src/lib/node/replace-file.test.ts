import assert from 'node:assert/strict'
import { mkdirSync, mkdtempDisposableSync, readFileSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { replaceFile } from './replace-file.ts'

describe('replaceFile', () => {
  it('replaces a file', async () => {
    using dir = mkdtempDisposableSync(join(tmpdir(), 'fairlead-replace-'))
    const path = join(dir.path, 'file')
    await replaceFile(path, 'one')
    await replaceFile(path, 'two')
    assert.equal(readFileSync(path, 'utf8'), 'two')
    assert.deepEqual(readdirSync(dir.path), ['file'])
  })

  it('leaves nothing behind when it fails', async () => {
    using dir = mkdtempDisposableSync(join(tmpdir(), 'fairlead-replace-'))
    mkdirSync(join(dir.path, 'taken/full'), { recursive: true })
    await assert.rejects(replaceFile(join(dir.path, 'taken'), 'text'))
    assert.deepEqual(readdirSync(dir.path), ['taken'])
  })
})
