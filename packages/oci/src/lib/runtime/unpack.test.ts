import assert from 'node:assert/strict'
import { lstat, mkdtemp, readFile, readdir, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import type { TarEntry } from '../archive/entry.ts'
import { createTar } from '../archive/tar-writer.ts'
import { digestOf } from '../spec/digest.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { cloneTree, resolveInRoot, unpackLayer } from './unpack.ts'
import type { UnpackOptions } from './unpack.ts'

async function openFolder(): Promise<AsyncDisposable & { outside: string; root: string }> {
  const outside = await mkdtemp(join(tmpdir(), 'fairlead-unpack-'))
  const root = join(outside, 'root')
  const { mkdir } = await import('node:fs/promises')
  await mkdir(root)
  await writeFile(join(outside, 'secret'), 'untouched')
  return { outside, root, [Symbol.asyncDispose]: () => rm(outside, { recursive: true, force: true }) }
}

function unpack(
  root: string,
  entries: readonly TarEntry[],
  options: UnpackOptions = {},
): ReturnType<typeof unpackLayer> {
  return unpackLayer(createTar(entries), mediaTypes.layer, root, { keepOwners: false, ...options })
}

const file = (path: string, text = path): TarEntry => ({ path, type: 'file', content: Buffer.from(text) })
const link = (path: string, linkPath: string): TarEntry => ({ path, type: 'symlink', linkPath })

describe('unpackLayer', () => {
  it('writes files, folders and links with their permissions', async () => {
    await using folder = await openFolder()
    const entries: TarEntry[] = [
      { path: 'bin', type: 'directory', mode: 0o700 },
      { ...file('bin/run'), mode: 0o751, mtimeSeconds: 1000 },
      { path: 'bin/same', type: 'hardlink', linkPath: 'bin/run' },
      link('usr', 'bin'),
      file('deep/down/below'),
    ]
    const { hasWhiteouts } = await unpack(folder.root, entries)
    assert.equal(hasWhiteouts, false)
    const run = await stat(join(folder.root, 'bin/run'))
    assert.deepEqual([run.mode & 0o777, run.nlink, run.mtimeMs], [0o751, 2, 1_000_000])
    assert.equal((await stat(join(folder.root, 'bin'))).mode & 0o777, 0o700)
    assert.equal(await readlink(join(folder.root, 'usr')), 'bin')
    assert.equal(await readFile(join(folder.root, 'deep/down/below'), 'utf8'), 'deep/down/below')
  })

  const escapes: readonly { name: string; entries: (outside: string) => TarEntry[] }[] = [
    {
      name: 'an absolute link to a folder',
      entries: (outside) => [link('out', outside), file('out/secret', 'changed')],
    },
    { name: 'a relative link to a folder', entries: () => [link('out', '../'), file('out/secret', 'changed')] },
    {
      name: 'a link in place of the file',
      entries: (outside) => [link('secret', `${outside}/secret`), file('secret', 'changed')],
    },
    {
      name: 'a chain of links',
      entries: (outside) => [link('a', 'b'), link('b', outside), file('a/secret', 'changed')],
    },
  ]
  for (const { name, entries } of escapes) {
    it(`keeps inside of its folder when led out by ${name}`, async () => {
      await using folder = await openFolder()
      await unpack(folder.root, entries(folder.outside))
      assert.equal(await readFile(join(folder.outside, 'secret'), 'utf8'), 'untouched')
      assert.deepEqual((await readdir(folder.outside)).toSorted(), ['root', 'secret'])
    })
  }

  it('deletes what a whiteout names, and all of an opaque folder but what the layer itself brings', async () => {
    await using folder = await openFolder()
    await unpack(folder.root, [file('a/gone'), file('a/stays'), file('b/old'), file('c')])
    const { hasWhiteouts } = await unpack(folder.root, [
      file('a/.wh.gone', ''),
      file('b/new'),
      file('b/.wh..wh..opq', ''),
      file('.wh.c', ''),
    ])
    assert.equal(hasWhiteouts, true)
    assert.deepEqual(await readdir(join(folder.root, 'a')), ['stays'])
    assert.deepEqual(await readdir(join(folder.root, 'b')), ['new'])
    assert.deepEqual((await readdir(folder.root)).toSorted(), ['a', 'b'])
  })

  it('replaces a folder by a file and a file by a folder', async () => {
    await using folder = await openFolder()
    await unpack(folder.root, [file('x/inner'), file('y')])
    await unpack(folder.root, [file('x'), file('y/inner')])
    assert.ok((await lstat(join(folder.root, 'x'))).isFile())
    assert.ok((await lstat(join(folder.root, 'y/inner'))).isFile())
  })

  it('refuses content that is not what the image says', async () => {
    await using folder = await openFolder()
    await assert.rejects(unpack(folder.root, [file('x')], { diffId: digestOf('other') }), {
      code: 'FAIRLEAD_OCI_DIGEST_MISMATCH',
    })
  })

  it('refuses a layer of a kind it does not know', async () => {
    await using folder = await openFolder()
    await assert.rejects(unpackLayer(createTar([]), 'text/plain', folder.root), { code: 'FAIRLEAD_OCI_LAYER' })
  })
})

describe('cloneTree', () => {
  it('shares files and owns folders', async () => {
    await using folder = await openFolder()
    await unpack(folder.root, [file('a/b'), link('l', 'a')], { readOnlyFiles: true })
    const copy = join(folder.outside, 'copy')
    await cloneTree(folder.root, copy)
    assert.equal((await stat(join(copy, 'a/b'))).ino, (await stat(join(folder.root, 'a/b'))).ino)
    assert.equal((await stat(join(copy, 'a/b'))).mode & 0o222, 0)
    await writeFile(join(copy, 'a/own'), '')
    assert.deepEqual(await readdir(join(folder.root, 'a')), ['b'])
    assert.equal(await readlink(join(copy, 'l')), 'a')
  })
})

describe('resolveInRoot', () => {
  it('follows links as a process inside would', async () => {
    await using folder = await openFolder()
    await unpack(folder.root, [link('bin', 'usr/bin'), link('usr/bin/sh', '/opt/sh'), link('up', '../../../etc')])
    const resolved = async (path: string): Promise<string> =>
      (await resolveInRoot(folder.root, path)).slice(folder.root.length)
    assert.equal(await resolved('/bin/sh'), '/opt/sh')
    assert.equal(await resolved('up/passwd'), '/etc/passwd')
    assert.equal(await resolved('../../x'), '/x')
    assert.equal(await resolved('/'), '')
  })
})
