import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { digestOf } from '../spec/digest.ts'
import type { Descriptor } from '../spec/image.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { openLayout } from './layout.ts'
import type { Layout } from './layout.ts'

async function temporary(): Promise<{ dir: string } & AsyncDisposable> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-layout-'))
  return { dir, [Symbol.asyncDispose]: () => rm(dir, { recursive: true }) }
}

async function addImage(layout: Layout, architecture = 'amd64'): Promise<Descriptor> {
  const layer = await layout.writeBlob(Buffer.from(`layer of ${architecture}`))
  const config = { os: 'linux', architecture, rootfs: { type: 'layers', diff_ids: [layer.digest] } }
  return layout.writeJson(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: await layout.writeJson(mediaTypes.config, config),
    layers: [{ mediaType: mediaTypes.layer, ...layer }],
  })
}

async function* chunks(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text)
}

describe('openLayout', () => {
  it('makes an empty layout and opens it again', async () => {
    await using folder = await temporary()
    await openLayout(join(folder.dir, 'new'))
    const marker = await readFile(join(folder.dir, 'new', 'oci-layout'), 'utf8')
    assert.deepEqual(JSON.parse(marker), { imageLayoutVersion: '1.0.0' })
    assert.deepEqual(await (await openLayout(join(folder.dir, 'new'))).list(), [])
  })

  it('refuses a folder that is another thing', async () => {
    await using folder = await temporary()
    await writeFile(join(folder.dir, 'oci-layout'), '{}')
    await assert.rejects(openLayout(folder.dir), { code: 'FAIRLEAD_OCI_LAYOUT' })
    await writeFile(join(folder.dir, 'file'), '')
    await assert.rejects(openLayout(join(folder.dir, 'file')), { code: 'FAIRLEAD_OCI_LAYOUT' })
  })

  it('removes what a killed process left half-written', async () => {
    await using folder = await temporary()
    await openLayout(folder.dir)
    const left = join(folder.dir, '.ingest', `${encodeURIComponent(`${hostname()}|999999999|1`)}.x`)
    await writeFile(left, 'half')
    await openLayout(folder.dir)
    assert.deepEqual(await readdir(join(folder.dir, '.ingest')), [])
  })
})

describe('Layout', () => {
  it('stores blobs under their digest', async () => {
    await using folder = await temporary()
    const layout = await openLayout(folder.dir)
    const stored = await layout.writeBlob(chunks('con', 'tent'))
    assert.deepEqual(stored, { digest: digestOf('content'), size: 7 })
    assert.ok(await layout.hasBlob(stored.digest))
    assert.equal((await layout.readBlob(stored.digest)).toString(), 'content')
    assert.deepEqual(await layout.writeBlob(Buffer.from('content')), stored)
  })

  it('stores a stream whose digest is known beforehand', async () => {
    await using folder = await temporary()
    const layout = await openLayout(folder.dir)
    await layout.writeBlob(chunks('content'), digestOf('content'))
    assert.ok(await layout.hasBlob(digestOf('content')))
  })

  it('refuses content with another digest, and keeps nothing of it or of a broken stream', async () => {
    await using folder = await temporary()
    const layout = await openLayout(folder.dir)
    const wrong = layout.writeBlob(chunks('x'), digestOf('y'))
    await assert.rejects(wrong, { code: 'FAIRLEAD_OCI_DIGEST_MISMATCH' })
    const broken = (async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from('x')
      throw new Error('source failed')
    })()
    await assert.rejects(layout.writeBlob(broken), /source failed/)
    assert.deepEqual(await readdir(join(folder.dir, 'blobs', 'sha256')), [])
    assert.deepEqual(await readdir(join(folder.dir, '.ingest')), [])
  })

  it('notices a blob that is damaged or missing', async () => {
    await using folder = await temporary()
    const layout = await openLayout(folder.dir)
    const { digest } = await layout.writeBlob(Buffer.from('content'))
    await writeFile(layout.blobPath(digest), 'other')
    await assert.rejects(layout.readBlob(digest), { code: 'FAIRLEAD_OCI_DIGEST_MISMATCH' })
    await assert.rejects(layout.readBlob(digestOf('none')), { code: 'FAIRLEAD_OCI_BLOB_MISSING' })
  })

  it('resolves tags in any spelling, and digests', async () => {
    await using folder = await temporary()
    const layout = await openLayout(folder.dir)
    const descriptor = await addImage(layout)
    await layout.tag('localhost/shop/web', descriptor)
    for (const reference of [
      'localhost/shop/web:latest',
      'localhost/shop/web',
      `localhost/shop/web@${descriptor.digest}`,
    ]) {
      const found = await layout.resolve(reference, 'linux/amd64')
      assert.equal(found?.descriptor.digest, descriptor.digest, reference)
      assert.equal(found.config.architecture, 'amd64')
    }
    assert.equal(await layout.resolve('localhost/shop/web:other'), undefined)
    assert.equal(await layout.resolve(`localhost/shop/web@${digestOf('none')}`), undefined)
  })

  it('moves a tag and forgets it', async () => {
    await using folder = await temporary()
    const layout = await openLayout(folder.dir)
    await layout.tag('localhost/a:1', await addImage(layout))
    const second = await addImage(layout, 'arm64')
    await layout.tag('localhost/a:1', second)
    assert.deepEqual(await layout.list(), [
      {
        reference: 'localhost/a:1',
        descriptor: { ...second, annotations: { 'org.opencontainers.image.ref.name': 'localhost/a:1' } },
      },
    ])
    assert.equal(await layout.untag('localhost/a:1'), true)
    assert.equal(await layout.untag('localhost/a:1'), false)
  })

  it('chooses the platform out of an index', async () => {
    await using folder = await temporary()
    const layout = await openLayout(folder.dir)
    const manifests = []
    for (const architecture of ['amd64', 'arm64']) {
      manifests.push({ ...(await addImage(layout, architecture)), platform: { os: 'linux', architecture } })
    }
    const index = await layout.writeJson(mediaTypes.index, { schemaVersion: 2, mediaType: mediaTypes.index, manifests })
    await layout.tag('localhost/a', index)
    assert.equal((await layout.resolve('localhost/a', 'linux/arm64'))?.config.architecture, 'arm64')
    await assert.rejects(layout.resolve('localhost/a', 'linux/s390x'), {
      code: 'FAIRLEAD_OCI_PLATFORM_MISSING',
      message: /it exists for linux\/amd64, linux\/arm64/,
    })
  })

  it('lists what refers to a manifest, attached without a reference', async () => {
    await using folder = await temporary()
    const layout = await openLayout(folder.dir)
    const subject = await addImage(layout)
    const empty = await layout.writeBlob(Buffer.from('{}'))
    const attached = []
    for (const artifactType of ['application/x.signature', 'application/x.sbom']) {
      const descriptor = await layout.writeJson(mediaTypes.manifest, {
        schemaVersion: 2,
        artifactType,
        config: { mediaType: mediaTypes.empty, ...empty },
        layers: [],
        subject,
        annotations: { 'x.y': artifactType },
      })
      attached.push(descriptor)
      await layout.attach(descriptor)
      await layout.attach(descriptor)
    }
    assert.equal((await layout.referrers(subject.digest)).length, 2)
    const [sbom] = await layout.referrers(subject.digest, 'application/x.sbom')
    const artifactType = 'application/x.sbom'
    assert.deepEqual(sbom, { ...attached[1], artifactType, annotations: { 'x.y': artifactType } })
    assert.deepEqual(await layout.list(), [])
    assert.equal(await layout.detach(subject.digest), false)
    assert.ok(sbom && (await layout.detach(sbom.digest)))
    assert.equal((await layout.referrers(subject.digest)).length, 1)
  })

  it('writes many changes of one process together, and refuses none for another', async () => {
    await using folder = await temporary()
    const layout = await openLayout(folder.dir)
    const descriptor = await addImage(layout)
    await Promise.all(Array.from({ length: 200 }, (_, at) => layout.tag(`localhost/a:${at}`, descriptor)))
    assert.equal((await layout.list()).length, 200)
  })

  it('loses no tag when many processes add some at once', async () => {
    await using folder = await temporary()
    const layout = await openLayout(folder.dir)
    const descriptor = await addImage(layout)
    const program = `
      import { openLayout } from ${JSON.stringify(import.meta.resolve('./layout.ts'))}
      const layout = await openLayout(${JSON.stringify(folder.dir)})
      for (let i = 0; i < 10; i += 1) await layout.tag('localhost/p' + process.argv[1] + ':' + i, ${JSON.stringify(descriptor)})`
    const children = ['1', '2', '3'].map((name) =>
      spawn(process.execPath, ['--input-type=module', '--eval', program, name], { stdio: 'inherit' }),
    )
    const codes = await Promise.all(children.map(async (child) => (await once(child, 'close'))[0] as number))
    assert.deepEqual(codes, [0, 0, 0])
    assert.equal((await layout.list()).length, 30)
  })

  it('takes over the lock of a process that is gone', async () => {
    await using folder = await temporary()
    const layout = await openLayout(folder.dir)
    const descriptor = await addImage(layout)
    await writeFile(join(folder.dir, '.ingest', 'index.lock'), `${hostname()}|999999999|1|x`)
    await Promise.all(['a', 'b', 'c'].map((tag) => layout.tag(`localhost/a:${tag}`, descriptor)))
    assert.equal((await layout.list()).length, 3)
  })
})
