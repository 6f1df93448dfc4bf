import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { digestOf } from '../../spec/digest.ts'
import { mediaTypes } from '../../spec/media-types.ts'
import { describeJson, digestWith, startTestRegistry } from './registry-fixture.ts'
import type { PushEvent } from './call.ts'

describe('a registry: push of manifests', () => {
  it('refuses what points at content that is not there', async () => {
    await using test = await startTestRegistry()
    const { manifest } = await test.pushImage('one', '1', 'layer')
    const answer = await test.putManifest('two', '1', manifest)
    assert.deepEqual([answer.status, answer.json().errors[0].code], [404, 'MANIFEST_BLOB_UNKNOWN'])
    const child = {
      ...describeJson({ none: 1 }, mediaTypes.manifest),
      platform: { os: 'linux', architecture: 'amd64' },
    }
    const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [child] }
    assert.equal(
      (await test.putManifest('one', 'index', index, mediaTypes.index)).json().errors[0].code,
      'MANIFEST_BLOB_UNKNOWN',
    )
    assert.equal((await test.send('GET', '/v2/two/tags/list')).status, 404)
  })

  it('takes parts of an image where that was asked for', async () => {
    await using test = await startTestRegistry({ missingContent: 'accept' })
    const { manifest } = await test.pushImage('one', '1', 'layer')
    assert.equal((await test.putManifest('two', '1', manifest)).status, 201)
  })

  it('does not want layers that lie elsewhere', async () => {
    await using test = await startTestRegistry()
    const { manifest } = await test.pushImage('app', '1', 'layer')
    const elsewhere = {
      ...describeJson({ x: 1 }, 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'),
      urls: ['https://layers.example/x'],
    }
    assert.equal((await test.putManifest('app', '2', { ...manifest, layers: [elsewhere] })).status, 201)
  })

  const invalid: { name: string; manifest: (good: object) => object | Buffer; mediaType?: string }[] = [
    { name: 'no JSON', manifest: () => Buffer.from('{') },
    { name: 'no UTF-8', manifest: () => Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]) },
    { name: 'a list', manifest: () => [] },
    { name: 'schema version 1', manifest: (good) => ({ ...good, schemaVersion: 1 }) },
    { name: 'another media type inside', manifest: (good) => ({ ...good, mediaType: mediaTypes.index }) },
    { name: 'layers and manifests', manifest: (good) => ({ ...good, manifests: [] }) },
    { name: 'no config', manifest: (good) => ({ ...good, config: undefined }) },
    {
      name: 'a digest that is none',
      manifest: (good) => ({ ...good, layers: [{ mediaType: 'x/y', digest: 'sha256:1', size: 1 }] }),
    },
    {
      name: 'a size that is none',
      manifest: (good) => ({ ...good, layers: [{ mediaType: 'x/y', digest: digestOf(''), size: -1 }] }),
    },
    {
      name: 'a type that is no manifest',
      manifest: (good) => ({ ...good, mediaType: undefined }),
      mediaType: 'application/json',
    },
    { name: 'a subject that is none', manifest: (good) => ({ ...good, subject: { digest: 'x' } }) },
  ]
  for (const { name, manifest, mediaType } of invalid) {
    it(`refuses a manifest with ${name}`, async () => {
      await using test = await startTestRegistry()
      const good = await test.pushImage('app', '1', 'layer')
      const answer = await test.putManifest('app', '2', manifest(good.manifest), mediaType)
      assert.deepEqual([answer.status, answer.json().errors[0].code], [400, 'MANIFEST_INVALID'])
      assert.deepEqual((await test.send('GET', '/v2/app/tags/list')).json()['tags'], ['1'])
    })
  }

  it('refuses one whose digest is another, and one that is too large', async () => {
    await using test = await startTestRegistry()
    const { manifest } = await test.pushImage('app', '1', 'layer')
    const wrong = await test.putManifest('app', digestOf('x'), manifest)
    assert.deepEqual([wrong.status, wrong.json().errors[0].code], [400, 'DIGEST_INVALID'])
    const large = await test.putManifest('app', '2', { ...manifest, annotations: { x: 'x'.repeat(4 << 20) } })
    assert.deepEqual([large.status, large.json().errors[0].code], [413, 'SIZE_INVALID'])
    const justSmall = { ...manifest, annotations: { x: 'x'.repeat((4 << 20) - 2000) } }
    assert.equal((await test.putManifest('app', '3', justSmall)).status, 201)
  })

  it('takes a manifest by sha512 and tags it on the way', async () => {
    await using test = await startTestRegistry()
    const { manifest } = await test.pushImage('app', '1', 'layer')
    const digest = digestWith('sha512', JSON.stringify(manifest))
    const answer = await test.putManifest('app', `${digest}?tag=a&tag=b`, manifest)
    assert.deepEqual([answer.status, answer.headers.get('oci-tag')], [201, 'a, b'])
    assert.equal((await test.send('GET', '/v2/app/manifests/b')).headers.get('docker-content-digest'), digest)
    assert.equal((await test.putManifest('app', `${digest}?tag=.a`, manifest)).status, 400)
  })

  it('takes what Docker pushes', async () => {
    await using test = await startTestRegistry()
    const layer = await test.pushBlob('app', 'layer')
    const config = await test.pushBlob('app', '{}')
    const manifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.dockerManifest,
      config: { mediaType: mediaTypes.dockerConfig, size: 2, digest: config },
      layers: [{ mediaType: mediaTypes.dockerLayer, size: 5, digest: layer }],
    }
    assert.equal((await test.putManifest('app', '1', manifest, mediaTypes.dockerManifest)).status, 201)
    const list = {
      schemaVersion: 2,
      mediaType: mediaTypes.dockerIndex,
      manifests: [
        { ...describeJson(manifest, mediaTypes.dockerManifest), platform: { os: 'linux', architecture: 'amd64' } },
      ],
    }
    assert.equal((await test.putManifest('app', 'list', list, mediaTypes.dockerIndex)).status, 201)
    assert.equal((await test.send('GET', '/v2/app/manifests/list')).headers.get('content-type'), mediaTypes.dockerIndex)
  })

  it('tells of a push after it was answered, and outlives a callback that fails', async () => {
    const { promise, resolve } = Promise.withResolvers<PushEvent>()
    const logged: string[] = []
    await using test = await startTestRegistry({
      onPushed: (event) => {
        resolve(event)
        throw new Error('no scanner')
      },
      onLog: ({ msg }) => logged.push(msg),
    })
    const { digest } = await test.pushImage('team/app', '1', 'layer')
    const { size, ...event } = await promise
    assert.deepEqual(event, {
      repository: 'team/app',
      digest,
      mediaType: mediaTypes.manifest,
      tags: ['1'],
      user: undefined,
    })
    assert.ok(size > 100)
    assert.equal((await test.send('GET', '/v2/')).status, 200)
    assert.deepEqual(logged, ['push callback failed'])
  })
})
