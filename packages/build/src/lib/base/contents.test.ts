import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { openCache } from '../layers/cache.ts'
import { writeLayer } from '../layers/layer.ts'
import { readContents } from './contents.ts'
import type { BaseContents } from './contents.ts'

async function contentsOf(files: Readonly<Record<string, string>>): Promise<BaseContents> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-contents-'))
  try {
    const cache = await openCache(dir)
    const entries = Object.entries(files).map(([path, text]) => ({
      path,
      type: 'file' as const,
      content: Buffer.from(text),
    }))
    return await readContents(cache, [await writeLayer(cache.layers, entries)])
  } finally {
    await rm(dir, { recursive: true })
  }
}

describe('readContents', () => {
  it('knows a distroless image by its record of Debian packages', async () => {
    const found = await contentsOf({
      'usr/lib/os-release': 'PRETTY_NAME="Distroless"\nID="debian"\nVERSION_ID="12"\n',
      'var/lib/dpkg/status.d/libc6': 'Package: libc6\nVersion: 2.36-9+deb12u14\nArchitecture: amd64\nSource: glibc\n',
      'var/lib/dpkg/status.d/libc6.md5sums': 'Package: none',
      'usr/lib/x86_64-linux-gnu/libc.so.6': '',
      'lib64/ld-linux-x86-64.so.2': '',
    })
    assert.deepEqual(found, {
      libraries: ['ld-linux-x86-64.so.2', 'libc.so.6'],
      libc: 'glibc',
      glibc: '2.36',
      node: undefined,
      distribution: { id: 'debian', versionId: '12' },
      packages: [{ name: 'libc6', version: '2.36-9+deb12u14', architecture: 'amd64', source: 'glibc' }],
    })
  })

  it('knows an image of Alpine with Node.js', async () => {
    const found = await contentsOf({
      'etc/os-release': 'ID=alpine\nVERSION_ID=3.23.0\n',
      'lib/apk/db/installed': 'P:musl\nV:1.2.5-r10\nA:x86_64\no:musl\n\nP:libgcc\nV:15.2.0-r2\nA:x86_64\no:gcc\n\n',
      'lib/ld-musl-x86_64.so.1': '',
      'usr/local/bin/node': '',
    })
    assert.equal(found.libc, 'musl')
    assert.equal(found.node, '/usr/local/bin/node')
    assert.deepEqual(
      found.packages.map(({ name, source }) => [name, source]),
      [
        ['libgcc', 'gcc'],
        ['musl', undefined],
      ],
    )
  })

  it('has nothing to say about an empty image', async () => {
    const { libc, libraries, packages, distribution } = await contentsOf({ 'bin/x': '' })
    assert.deepEqual([libc, libraries, packages, distribution], ['none', [], [], undefined])
  })
})
