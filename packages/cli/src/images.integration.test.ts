// Commands that look into the images of this machine and tidy them up, as a child process.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempDisposableSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { mediaTypes } from '@fairlead/oci'
import { createTar, type TarEntry } from '@fairlead/oci/archive'
import { type Layout, openLayout } from '@fairlead/oci/layout'

const launcher = fileURLToPath(new URL('../bin/fairlead.mjs', import.meta.url))
const home = mkdtempDisposableSync(join(tmpdir(), 'fairlead-images-'))
after(() => home.remove())

function fairlead(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { promise, resolve } = Promise.withResolvers<{ code: number; stdout: string; stderr: string }>()
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env
  const env = { ...inherited, FAIRLEAD_HOME: home.path, FAIRLEAD_CACHE: join(home.path, 'cache') }
  execFile(process.execPath, [launcher, ...args], { env, timeout: 60_000 }, (error, stdout, stderr) =>
    resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
  )
  return promise
}

async function storeImage(layout: Layout, tag: string, days: number, app: readonly TarEntry[]): Promise<void> {
  const base: TarEntry = { path: 'etc/os-release', type: 'file', content: Buffer.from('ID=debian\n') }
  const layers = []
  for (const entries of [[base], app]) {
    layers.push({ mediaType: mediaTypes.layer, ...(await layout.writeBlob(createTar(entries))) })
  }
  const created_by = ['base', 'application']
  const config = await layout.writeJson(mediaTypes.config, {
    os: 'linux',
    architecture: 'amd64',
    config: { User: '65532', Entrypoint: ['/app/run'], Env: ['COLOUR=blue'], Labels: { team: 'shop' } },
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
    history: created_by.map((by) => ({ created_by: by })),
  })
  const manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers }
  const descriptor = await layout.writeJson(mediaTypes.manifest, manifest)
  await layout.tag(`localhost/shop/web:${tag}`, { ...descriptor, platform: { os: 'linux', architecture: 'amd64' } })
  const written = new Date(Date.now() - days * 86_400_000)
  for (const { digest } of [descriptor, config, ...layers]) utimesSync(layout.blobPath(digest), written, written)
}

describe('fairlead image', () => {
  before(async () => {
    const layout = await openLayout(join(home.path, 'images'))
    const run: TarEntry = { path: 'app/run', type: 'file', mode: 0o755, content: Buffer.from('#!') }
    for (let version = 1; version <= 5; version += 1) {
      const text: TarEntry = { path: 'app/text', type: 'file', content: Buffer.from('x'.repeat(version)) }
      await storeImage(layout, `1.${version}`, 20 - version, [run, text])
    }
  })

  it('ls: lists what there is', async () => {
    const { code, stdout } = await fairlead('image', 'ls')
    assert.equal(code, 0)
    assert.match(
      stdout,
      /^REFERENCE +DIGEST +PLATFORM +SIZE +AGE\nlocalhost\/shop\/web:1\.1 +[0-9a-f]{12} +linux\/amd64 /,
    )
    assert.equal(stdout.trim().split('\n').length, 6)
  })

  it('inspect: shows how it runs, and all of it as JSON', async () => {
    const reference = 'localhost/shop/web:1.1'
    const { stdout } = await fairlead('image', 'inspect', reference, '--platform', 'linux/amd64')
    assert.match(stdout, /User: +65532\nCommand: +\/app\/run\nEnvironment:\n  COLOUR=blue\nLabels:\n  team=shop/)
    const json = await fairlead('image', 'inspect', reference, '--platform', 'linux/amd64', '--json')
    assert.equal((JSON.parse(json.stdout) as { config: { os: string } }).config.os, 'linux')
  })

  it('history: tells what made each layer', async () => {
    const { stdout } = await fairlead('image', 'history', 'localhost/shop/web:1.1', '--platform', 'linux/amd64')
    assert.match(stdout, /^0 +[0-9a-f]{12} .* base\n1 +[0-9a-f]{12} .* application$/m)
  })

  it('files: lists them, and tells why one is there', async () => {
    const all = ['image', 'files', 'localhost/shop/web:1.3', '--platform', 'linux/amd64']
    const { stdout } = await fairlead(...all)
    assert.match(stdout, /^0755 +0:0 +2 B +1 +\/app\/run$/m)
    assert.match(
      (await fairlead(...all, '/app/text')).stdout,
      /\/app\/text: file, 3 B.*\nlayer 1 .*application\npart of no package/,
    )
    const missing = await fairlead(...all, '/nope')
    assert.deepEqual([missing.code, missing.stderr.includes('the image has nothing at this path')], [1, true])
    const wrong = await fairlead(...all, '--layer', '7')
    assert.deepEqual([wrong.code, wrong.stderr.includes('the numbers 0 to 1')], [2, true])
  })

  it('diff: shows what a version changes', async () => {
    const [before, now] = ['localhost/shop/web:1.1', 'localhost/shop/web:1.2']
    const { stdout, stderr } = await fairlead('image', 'diff', before, now, '--platform', 'linux/amd64')
    assert.equal(stdout, '~ /app/text (content; 1 B -> 2 B)\n')
    assert.match(stderr, /1 differences?; .* to push, .* shared/)
  })

  it('suggests a reference for one that is not there', async () => {
    const { code, stderr } = await fairlead('image', 'history', 'localhost/shop/web:1.9')
    assert.equal(code, 1)
    assert.match(stderr, /there is no such image on this machine\nhint: Did you mean "localhost\/shop\/web:1\.\d"\?/)
  })

  it('prune: shows first, removes when told, and the store is intact', async () => {
    const shown = await fairlead('image', 'prune')
    assert.match(
      shown.stdout,
      /^shop\/web: 2 of 5 images\n  expire [0-9a-f]{12} \(1\.1\): rule 1, .*\n  expire [0-9a-f]{12} \(1\.2\)/,
    )
    assert.match(shown.stderr, /nothing was removed; --apply removes it/)
    const { stdout } = await fairlead('image', 'prune', '--apply', '--json')
    const pruned = JSON.parse(stdout) as { isApplied: boolean; collected: { blobs: number } }
    assert.deepEqual([pruned.isApplied, pruned.collected.blobs], [true, 6])
    assert.equal((await fairlead('image', 'ls')).stdout.trim().split('\n').length, 4)
    assert.equal((await fairlead('image', 'fsck')).code, 0)
  })
})
