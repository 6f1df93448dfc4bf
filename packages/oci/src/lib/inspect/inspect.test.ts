import assert from 'node:assert/strict'
import { mkdtempDisposableSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { describe, it } from 'node:test'

import type { TarEntry } from '../archive/entry.ts'
import { createTar } from '../archive/tar-writer.ts'
import { openLayout } from '../layout/layout.ts'
import type { Layout, ResolvedImage } from '../layout/layout.ts'
import { digestOf } from '../spec/digest.ts'
import type { ImageHistory } from '../spec/image.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { hostPlatform } from '../spec/platform.ts'
import { diffImages } from './diff.ts'
import { listFiles, readFileOf } from './files.ts'
import { listSteps } from './layers.ts'
import { findOwner } from './owner.ts'

const file = (path: string, text = path, more: Partial<TarEntry> = {}): TarEntry => ({
  path,
  type: 'file',
  content: Buffer.from(text),
  ...more,
})
const folder = (path: string): TarEntry => ({ path, type: 'directory' })

async function store(
  layout: Layout,
  layers: readonly (readonly TarEntry[])[],
  history?: readonly ImageHistory[],
): Promise<ResolvedImage> {
  const stored = await Promise.all(
    layers.map(async (entries) => ({ mediaType: mediaTypes.layer, ...(await layout.writeBlob(createTar(entries))) })),
  )
  const config = await layout.writeJson(mediaTypes.config, {
    ...hostPlatform(),
    rootfs: { type: 'layers', diff_ids: stored.map(({ digest }) => digest) },
    ...(history ? { history } : {}),
  })
  const manifest = await layout.writeJson(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config,
    layers: stored,
  })
  await layout.tag(`localhost/i:${manifest.digest.slice(7, 19)}`, manifest)
  const image = await layout.resolve(`localhost/i:${manifest.digest.slice(7, 19)}`)
  assert.ok(image)
  return image
}

async function withLayout(work: (layout: Layout) => Promise<void>): Promise<void> {
  using dir = mkdtempDisposableSync(`${tmpdir()}/fairlead-inspect-`)
  await work(await openLayout(dir.path))
}

describe('listFiles', () => {
  it('shows what a container sees, the layer it comes from and what it hides', () =>
    withLayout(async (layout) => {
      const image = await store(layout, [
        [
          folder('etc'),
          file('etc/a', '1'),
          file('etc/b'),
          folder('opt'),
          file('opt/old'),
          folder('was'),
          file('was/in'),
        ],
        [file('etc/a', '22'), file('etc/.wh.b', ''), file('opt/.wh..wh..opq', ''), file('opt/new'), file('was', 'now')],
        [file('etc/a', '333'), file('etc/b', 'again')],
      ])
      const files = await listFiles(layout, image, { digests: true })
      assert.deepEqual(
        files.map(({ path, type, sizeBytes, layer, hidden }) => [path, type, sizeBytes, layer, hidden]),
        [
          ['etc', 'directory', 0, 0, []],
          ['etc/a', 'file', 3, 2, [0, 1]],
          ['etc/b', 'file', 5, 2, []],
          ['opt', 'directory', 0, 0, []],
          ['opt/new', 'file', 7, 1, []],
          ['was', 'file', 3, 1, [0]],
        ],
      )
      assert.equal(files[1]?.digest, digestOf('333'))
    }))

  it('shows one layer as it is, deletions included', () =>
    withLayout(async (layout) => {
      const image = await store(layout, [[file('a')], [file('.wh.a', '')]])
      const paths = async (layer?: number): Promise<string[]> =>
        (await listFiles(layout, image, { layer })).map(({ path }) => path)
      assert.deepEqual([await paths(), await paths(0), await paths(1)], [[], ['a'], ['.wh.a']])
    }))
})

describe('readFileOf', () => {
  it('follows links to the content that counts', () =>
    withLayout(async (layout) => {
      const image = await store(layout, [
        [folder('d'), file('d/real', 'old'), { path: 'd/link', type: 'symlink', linkPath: 'real' }],
        [file('d/real', 'new'), { path: 'abs', type: 'symlink', linkPath: '/d/link' }],
        [{ path: 'round', type: 'symlink', linkPath: 'round' }],
      ])
      assert.equal(String(await readFileOf(layout, image, '/abs')), 'new')
      assert.equal(await readFileOf(layout, image, 'round'), undefined)
      assert.equal(await readFileOf(layout, image, 'd'), undefined)
    }))
})

describe('listSteps', () => {
  it('pairs layers with the history, steps without a layer included', () =>
    withLayout(async (layout) => {
      const history = [{ created_by: 'base' }, { created_by: 'ENV', empty_layer: true }, { created_by: 'app' }]
      const steps = listSteps(await store(layout, [[file('a')], [file('b')]], history))
      assert.deepEqual(
        steps.map(({ createdBy, sizeBytes, digest }) => [createdBy, sizeBytes > 0, digest !== undefined]),
        [
          ['base', true, true],
          ['ENV', false, false],
          ['app', true, true],
        ],
      )
    }))

  it('does not pair a history that cannot be of these layers', () =>
    withLayout(async (layout) => {
      const steps = listSteps(await store(layout, [[file('a')], [file('b')]], [{ created_by: 'base' }]))
      assert.deepEqual(
        steps.map(({ createdBy }) => createdBy),
        [undefined, undefined],
      )
    }))
})

describe('findOwner', () => {
  it('knows the packages of Debian, Alpine and npm', () =>
    withLayout(async (layout) => {
      const apk = 'P:musl\nV:1.2.5-r9\nF:lib\nR:ld-musl.so\n\nP:busybox\nV:1.37\nF:bin\nR:busybox\n\n'
      const image = await store(layout, [
        [
          file('var/lib/dpkg/status.d/libc6', 'Package: libc6\nVersion: 2.41-12\n\n'),
          file('var/lib/dpkg/status.d/libc6.md5sums', `${'0'.repeat(32)}  lib/libc.so.6\n`),
          file('lib/apk/db/installed', apk),
        ],
        [
          file('app/node_modules/@scope/lib/package.json', '{"name":"@scope/lib","version":"3.2.1"}'),
          file('app/node_modules/@scope/lib/dist/x.js'),
          file('app/main.js'),
        ],
      ])
      const owners = await Promise.all(
        ['usr/lib/libc.so.6', 'bin/busybox', 'app/node_modules/@scope/lib/dist/x.js', 'app/main.js'].map((path) =>
          findOwner(layout, image, path),
        ),
      )
      assert.deepEqual(owners, [
        { kind: 'debian', name: 'libc6', version: '2.41-12' },
        { kind: 'alpine', name: 'busybox', version: '1.37' },
        { kind: 'npm', name: '@scope/lib', version: '3.2.1' },
        undefined,
      ])
    }))
})

describe('diffImages', () => {
  it('finds what differs by content, and what need not be pushed again', () =>
    withLayout(async (layout) => {
      const base = [file('base')]
      const before = await store(layout, [base, [file('same', 'x'), file('text', '1'), file('gone'), file('mode')]])
      const after = await store(layout, [
        base,
        [
          file('same', 'x', { mtimeSeconds: 99 }),
          file('text', '22'),
          file('new'),
          file('mode', 'mode', { mode: 0o600 }),
        ],
      ])
      const { files, sharedBytes, newBytes } = await diffImages(layout, before, after)
      assert.deepEqual(
        files.map(({ path, kind, what, sizeBefore, sizeAfter }) => [path, kind, what.join(), sizeBefore, sizeAfter]),
        [
          ['gone', 'removed', '', 4, 0],
          ['mode', 'changed', 'mode', 4, 4],
          ['new', 'added', '', 0, 3],
          ['text', 'changed', 'content', 1, 2],
        ],
      )
      assert.deepEqual([sharedBytes, newBytes], [before.manifest.layers[0]?.size, after.manifest.layers[1]?.size])
    }))
})
