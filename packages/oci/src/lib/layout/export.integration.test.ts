import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { compressGzip } from '../archive/gzip.ts'
import { createTar } from '../archive/tar-writer.ts'
import { digestOf } from '../spec/digest.ts'
import type { Descriptor, ImageManifest } from '../spec/image.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { exportImages } from './export.ts'
import { openLayout } from './layout.ts'
import type { Layout } from './layout.ts'

const hasSkopeo = execFileSync('sh', ['-c', 'command -v skopeo || true']).length > 0
if (!hasSkopeo && process.env['CI'] === 'true') throw new Error('Cannot skip in CI: skopeo is not installed')

describe('exportImages', { skip: hasSkopeo ? false : 'skopeo is not installed', timeout: 600_000 }, () => {
  const one = 'localhost/demo/one:1'
  const both = 'localhost/demo/both:1'
  let work: string
  let layout: Layout

  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'fairlead-export-'))
    layout = await openLayout(join(work, 'store'))
    const amd64 = await writeImage(layout, 'amd64')
    const arm64 = await writeImage(layout, 'arm64')
    const manifests = [amd64, arm64]
    const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests }
    await layout.tag(one, amd64)
    await layout.tag(both, await layout.writeJson(mediaTypes.index, index))
  })
  after(() => rm(work, { recursive: true, force: true }))

  it('writes a layout that skopeo copies, with every platform', async () => {
    const dir = join(work, 'out')
    const { blobs } = await exportImages(layout, [both], { dir })
    assert.equal(blobs, 7)
    skopeo('copy', '--all', `oci:${dir}`, `oci:${join(work, 'again')}:x`)
    const index = JSON.parse(skopeo('inspect', '--raw', `oci:${join(work, 'again')}:x`)) as { manifests: unknown[] }
    assert.equal(index.manifests.length, 2)
  })

  it('writes an archive that skopeo copies by name, the same to the bit', async () => {
    const [first, second] = [join(work, 'a.tar'), join(work, 'b.tar')]
    await exportImages(layout, [one, both], { archive: first })
    await exportImages(layout, [one, both], { archive: second })
    assert.deepEqual(await readFile(first), await readFile(second))
    const config = skopeo('inspect', '--config', `oci-archive:${first}:${one}`)
    assert.match(config, /"architecture": "amd64"/)
  })

  it('replaces a layout, and leaves a folder that is none as it is', async () => {
    const dir = join(work, 'replaced')
    await exportImages(layout, [both], { dir })
    await exportImages(layout, [one], { dir })
    assert.equal((await readdir(join(dir, 'blobs/sha256'))).length, 3)
    const other = join(work, 'other')
    await mkdir(other)
    await writeFile(join(other, 'mine.txt'), 'mine')
    await assert.rejects(exportImages(layout, [one], { dir: other }), { code: 'FAIRLEAD_OCI_LAYOUT' })
    assert.deepEqual(await readdir(other), ['mine.txt'])
  })

  it('leaves nothing when a blob is missing or it is interrupted', async () => {
    const broken = await openLayout(join(work, 'broken'))
    const image = await writeImage(broken, 'amd64')
    await broken.tag(one, image)
    const manifest = JSON.parse((await broken.readBlob(image.digest)).toString()) as ImageManifest
    const layer = manifest.layers[0]
    assert.ok(layer)
    await rm(broken.blobPath(layer.digest))
    const [dir, archive] = [join(work, 'half'), join(work, 'half.tar')]
    for (const target of [{ dir }, { archive }])
      await assert.rejects(exportImages(broken, [one], target), { code: 'FAIRLEAD_OCI_BLOB_MISSING' })
    for (const target of [{ dir }, { archive }])
      await assert.rejects(exportImages(layout, [one], target, { signal: AbortSignal.abort() }), { name: 'AbortError' })
    assert.deepEqual(
      (await readdir(work)).filter((name) => name.startsWith('half')),
      [],
    )
  })
})

function skopeo(...args: readonly string[]): string {
  return execFileSync('skopeo', [...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

async function writeImage(layout: Layout, architecture: string): Promise<Descriptor> {
  const tar = createTar([{ path: 'who', type: 'file', content: Buffer.from(architecture) }])
  const chunks: Uint8Array[] = []
  for await (const chunk of tar) chunks.push(chunk)
  const layer = await layout.writeBlob(compressGzip(chunks))
  const config = await layout.writeJson(mediaTypes.config, {
    os: 'linux',
    architecture,
    rootfs: { type: 'layers', diff_ids: [digestOf(Buffer.concat(chunks))] },
  })
  const manifest = await layout.writeJson(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config,
    layers: [{ mediaType: mediaTypes.layerGzip, ...layer }],
  })
  return { ...manifest, platform: { os: 'linux', architecture } }
}
