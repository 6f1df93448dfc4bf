import assert from 'node:assert/strict'
import { mkdtemp, readFile, readdir, readlink, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { writeAtomically } from './atomic-directory.ts'
import type { ProjectedFile } from './atomic-directory.ts'

async function openFolder(): Promise<AsyncDisposable & { dir: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-volume-'))
  return { dir, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) }
}

function files(texts: Record<string, string>, mode = 0o644): Map<string, ProjectedFile> {
  return new Map(Object.entries(texts).map(([path, text]) => [path, { content: Buffer.from(text), mode }]))
}

describe('writeAtomically', () => {
  it('shows each file by a link through "..data"', async () => {
    await using folder = await openFolder()
    await writeAtomically(folder.dir, files({ a: '1', 'deep/b': '2' }, 0o400))
    assert.equal(await readlink(join(folder.dir, 'a')), '..data/a')
    assert.equal(await readFile(join(folder.dir, 'deep/b'), 'utf8'), '2')
    assert.equal((await stat(join(folder.dir, 'a'))).mode & 0o777, 0o400)
  })

  it('replaces everything at once and leaves nothing of what was before', async () => {
    await using folder = await openFolder()
    await writeAtomically(folder.dir, files({ gone: '1', stays: '1' }))
    const before = await readlink(join(folder.dir, '..data'))
    await writeAtomically(folder.dir, files({ stays: '2', fresh: '2' }))
    const names = (await readdir(folder.dir)).filter((name) => !name.startsWith('..'))
    assert.deepEqual(names.toSorted(), ['fresh', 'stays'])
    assert.equal(await readFile(join(folder.dir, 'stays'), 'utf8'), '2')
    assert.equal((await readdir(folder.dir)).includes(before), false)
    assert.equal((await readdir(folder.dir)).length, 4)
  })

  for (const path of ['../x', '/etc/x', 'a/../../x', '..x', '.']) {
    it(`refuses the path ${path}`, async () => {
      await using folder = await openFolder()
      await assert.rejects(writeAtomically(folder.dir, files({ [path]: '' })), { code: 'FAIRLEAD_CLUSTER_POD_CONFIG' })
    })
  }
})
