import assert from 'node:assert/strict'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { openLayout } from '../../layout/layout.ts'
import { digestOf } from '../../spec/digest.ts'
import { mediaTypes } from '../../spec/media-types.ts'
import { describeJson, digestWith, sendTo, startTestRegistry } from './registry-fixture.ts'
import type { PushEvent } from './handler.ts'
import { serveRegistry } from './server.ts'

const octets = { 'content-type': 'application/octet-stream' }

describe('a registry: pull', () => {
  it('answers the check of its version', async () => {
    await using test = await startTestRegistry()
    const { status, headers, text } = await test.send('GET', '/v2/')
    assert.deepEqual([status, text.trim()], [200, '{}'])
    assert.equal(headers.get('docker-distribution-api-version'), 'registry/2.0')
  })

  it('gives a manifest by tag and by digest, with the bytes and the type it was pushed with', async () => {
    await using test = await startTestRegistry()
    const { digest, manifest } = await test.pushImage('team/app', '1.0', 'layer')
    for (const target of ['1.0', digest]) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await test.send(method, `/v2/team/app/manifests/${target}`)
        assert.equal(answer.status, 200)
        assert.equal(answer.headers.get('content-type'), mediaTypes.manifest)
        assert.equal(answer.headers.get('docker-content-digest'), digest)
        assert.equal(answer.headers.get('content-length'), String(JSON.stringify(manifest).length))
        assert.equal(answer.text, method === 'GET' ? JSON.stringify(manifest) : '')
      }
    }
  })

  it('answers 304 to who has it already', async () => {
    await using test = await startTestRegistry()
    const { digest, layer } = await test.pushImage('app', '1', 'layer')
    for (const path of ['manifests/1', `manifests/${digest}`, `blobs/${layer}`]) {
      const { headers } = await test.send('GET', `/v2/app/${path}`)
      const etag = headers.get('etag') ?? ''
      const again = await test.send('GET', `/v2/app/${path}`, { headers: { 'if-none-match': `"x", W/${etag}` } })
      assert.deepEqual([again.status, again.text], [304, ''], path)
    }
  })

  const ranges = [
    { range: 'bytes=2-4', status: 206, text: '234', shown: 'bytes 2-4/10' },
    { range: 'bytes=7-', status: 206, text: '789', shown: 'bytes 7-9/10' },
    { range: 'bytes=-2', status: 206, text: '89', shown: 'bytes 8-9/10' },
    { range: 'bytes=8-400', status: 206, text: '89', shown: 'bytes 8-9/10' },
    { range: 'bytes=10-', status: 416, shown: 'bytes */10' },
    { range: 'bytes=5-2', status: 416, shown: 'bytes */10' },
    { range: 'bytes=1-2,4-5', status: 200, text: '0123456789' },
    { range: 'lines=1-2', status: 200, text: '0123456789' },
  ]
  for (const { range, status, text, shown } of ranges) {
    it(`answers ${status} to the range ${range} of a blob`, async () => {
      await using test = await startTestRegistry()
      const digest = await test.pushBlob('app', '0123456789')
      const answer = await test.send('GET', `/v2/app/blobs/${digest}`, { headers: { range } })
      assert.equal(answer.status, status)
      assert.equal(answer.headers.get('content-range'), shown ?? null)
      if (text !== undefined) assert.equal(answer.text, text)
    })
  }

  it('does not take a range of other content', async () => {
    await using test = await startTestRegistry()
    const digest = await test.pushBlob('app', '0123456789')
    const headers = { range: 'bytes=2-4', 'if-range': '"sha256:other"' }
    assert.equal((await test.send('GET', `/v2/app/blobs/${digest}`, { headers })).status, 200)
  })

  const unknown = [
    { path: `app/blobs/${digestOf('none')}`, status: 404, code: 'BLOB_UNKNOWN' },
    { path: 'app/manifests/none', status: 404, code: 'MANIFEST_UNKNOWN' },
    { path: `app/manifests/${digestOf('none')}`, status: 404, code: 'MANIFEST_UNKNOWN' },
    { path: 'none/manifests/1', status: 404, code: 'MANIFEST_UNKNOWN' },
    { path: 'none/tags/list', status: 404, code: 'NAME_UNKNOWN' },
    { path: 'app/blobs/sha256:abc', status: 400, code: 'DIGEST_INVALID' },
    { path: 'app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e', status: 400, code: 'DIGEST_INVALID' },
    { path: 'app/manifests/.bad', status: 400, code: 'MANIFEST_INVALID' },
    { path: `app/manifests/${'x'.repeat(129)}`, status: 400, code: 'MANIFEST_INVALID' },
    { path: 'App/manifests/1', status: 400, code: 'NAME_INVALID' },
    { path: 'a__b--c/_d/manifests/1', status: 400, code: 'NAME_INVALID' },
    { path: `${'a'.repeat(300)}/tags/list`, status: 400, code: 'NAME_INVALID' },
    { path: `${'a/'.repeat(119)}a/tags/list`, status: 404, code: 'NAME_UNKNOWN' },
    { path: 'app/nothing/1', status: 404, code: 'UNSUPPORTED' },
    { path: 'app/_catalog/manifests/1', status: 400, code: 'NAME_INVALID' },
    {
      path: `app/blobs/uploads/${'0'.repeat(8)}-0000-0000-0000-${'0'.repeat(12)}`,
      status: 404,
      code: 'BLOB_UPLOAD_UNKNOWN',
    },
    { path: 'app/blobs/uploads/..%2f..%2findex.json', status: 404, code: 'BLOB_UPLOAD_UNKNOWN' },
  ]
  for (const { path, status, code } of unknown) {
    it(`answers ${status} ${code} for ${path.slice(0, 50)}`, async () => {
      await using test = await startTestRegistry()
      const answer = await test.send('GET', `/v2/${path}`)
      assert.equal(answer.status, status)
      assert.equal(answer.json().errors[0].code, code)
      assert.equal(answer.headers.get('content-type'), 'application/json')
      assert.notEqual(answer.json().errors[0].message, '')
    })
  }

  it('keeps what belongs to one repository from another', async () => {
    await using test = await startTestRegistry()
    const { digest, layer } = await test.pushImage('a', '1', 'layer')
    assert.equal((await test.send('GET', `/v2/b/blobs/${layer}`)).status, 404)
    assert.equal((await test.send('GET', `/v2/b/manifests/${digest}`)).status, 404)
  })
})

describe('a registry: push of blobs', () => {
  for (const algorithm of ['sha256', 'sha512'] as const) {
    const content = 'content of a blob'
    const digest = digestWith(algorithm, content)

    it(`takes a blob in one POST (${algorithm})`, async () => {
      await using test = await startTestRegistry()
      const answer = await test.send('POST', `/v2/app/blobs/uploads/?digest=${digest}`, {
        body: content,
        headers: octets,
      })
      assert.equal(answer.status, 201)
      assert.equal(answer.headers.get('docker-content-digest'), digest)
      assert.equal((await test.send('GET', answer.headers.get('location') ?? '')).text, content)
      assert.deepEqual(await readdir(join(test.dir, 'registry', 'uploads')), [])
    })

    it(`takes a blob by POST and PUT (${algorithm})`, async () => {
      await using test = await startTestRegistry()
      const begun = await test.send('POST', '/v2/app/blobs/uploads/')
      assert.equal(begun.status, 202)
      const place = begun.headers.get('location') ?? ''
      const answer = await test.send('PUT', `${place}?digest=${digest}`, { body: content, headers: octets })
      assert.equal(answer.status, 201)
      assert.equal((await test.send('GET', `/v2/app/blobs/${digest}`)).text, content)
    })

    it(`takes a blob in chunks, the last with the PUT (${algorithm})`, async () => {
      await using test = await startTestRegistry()
      const begun = await test.send('POST', `/v2/app/blobs/uploads/?digest-algorithm=${algorithm}`)
      const place = begun.headers.get('location') ?? ''
      const chunk = (method: string, from: number, to: number, query = ''): ReturnType<typeof test.send> =>
        test.send(method, place + query, {
          body: content.slice(from, to),
          headers: { ...octets, 'content-range': `${from}-${to - 1}` },
        })
      const first = await chunk('PATCH', 0, 5)
      assert.deepEqual([first.status, first.headers.get('range')], [202, '0-4'])
      const wrong = await chunk('PATCH', 7, 9)
      assert.deepEqual([wrong.status, wrong.headers.get('range')], [416, '0-4'])
      const asked = await test.send('GET', place)
      assert.deepEqual([asked.status, asked.headers.get('range')], [204, '0-4'])
      assert.equal((await chunk('PATCH', 5, 9)).status, 202)
      const last = await chunk('PUT', 9, content.length, `?digest=${digest}`)
      assert.equal(last.status, 201, last.text)
      assert.equal((await test.send('GET', `/v2/app/blobs/${digest}`)).text, content)
    })
  }

  it('takes an empty blob', async () => {
    await using test = await startTestRegistry()
    const digest = digestOf('')
    const begun = await test.send('POST', '/v2/app/blobs/uploads/')
    assert.equal((await test.send('PUT', `${begun.headers.get('location')}?digest=${digest}`)).status, 201)
    const answer = await test.send('GET', `/v2/app/blobs/${digest}`)
    assert.deepEqual([answer.status, answer.text, answer.headers.get('content-length')], [200, '', '0'])
  })

  it('refuses content with another digest, and keeps none of it', async () => {
    await using test = await startTestRegistry()
    const digest = digestOf('this')
    const answer = await test.send('POST', `/v2/app/blobs/uploads/?digest=${digest}`, { body: 'that' })
    assert.deepEqual([answer.status, answer.json().errors[0].code], [400, 'DIGEST_INVALID'])
    assert.equal((await test.send('HEAD', `/v2/app/blobs/${digest}`)).status, 404)
    assert.deepEqual(await readdir(join(test.dir, 'registry', 'uploads')), [])
  })

  it('forgets an upload that is cancelled', async () => {
    await using test = await startTestRegistry()
    const place = (await test.send('POST', '/v2/app/blobs/uploads/')).headers.get('location') ?? ''
    assert.equal((await test.send('DELETE', place)).status, 204)
    assert.equal((await test.send('GET', place)).json().errors[0].code, 'BLOB_UPLOAD_UNKNOWN')
    assert.deepEqual(await readdir(join(test.dir, 'registry', 'uploads')), [])
  })

  it('goes on with an upload after a restart', async () => {
    await using test = await startTestRegistry()
    const place = (await test.send('POST', '/v2/app/blobs/uploads/')).headers.get('location') ?? ''
    await test.send('PATCH', place, { body: 'first ', headers: octets })
    await test.registry.close()
    await using again = await startTestRegistry({ dir: test.dir })
    assert.equal((await again.send('GET', place)).headers.get('range'), '0-5')
    const digest = digestOf('first second')
    assert.equal(
      (await again.send('PUT', `${place}?digest=${digest}`, { body: 'second', headers: octets })).status,
      201,
    )
    assert.equal((await again.send('GET', `/v2/app/blobs/${digest}`)).text, 'first second')
  })

  it('has limits for the number and the size of uploads', async () => {
    await using test = await startTestRegistry({ maxUploads: 1, maxBlobBytes: 10 })
    const place = (await test.send('POST', '/v2/app/blobs/uploads/')).headers.get('location') ?? ''
    const second = await test.send('POST', '/v2/app/blobs/uploads/')
    assert.deepEqual([second.status, second.headers.get('retry-after')], [429, '10'])
    const large = await test.send('PATCH', place, { body: 'more than ten bytes', headers: octets })
    assert.deepEqual([large.status, large.json().errors[0].code], [413, 'SIZE_INVALID'])
    await test.send('DELETE', place)
    assert.equal((await test.send('POST', '/v2/app/blobs/uploads/')).status, 202)
  })

  it('removes uploads nothing is added to', async () => {
    await using test = await startTestRegistry({ uploadIdleMs: 1, collect: { everyMs: 5 } })
    const place = (await test.send('POST', '/v2/app/blobs/uploads/')).headers.get('location') ?? ''
    while ((await test.send('GET', place)).status !== 404);
    while ((await readdir(join(test.dir, 'registry', 'uploads'))).length > 0);
  })

  it('mounts a blob from a named repository, from any, or asks for an upload', async () => {
    await using test = await startTestRegistry()
    const digest = await test.pushBlob('one', 'content')
    const named = await test.send('POST', `/v2/two/blobs/uploads/?mount=${digest}&from=one`)
    assert.deepEqual([named.status, named.headers.get('location')], [201, `/v2/two/blobs/${digest}`])
    const any = await test.send('POST', `/v2/three/blobs/uploads/?mount=${digest}`)
    assert.equal(any.status, 201)
    assert.equal((await test.send('GET', `/v2/three/blobs/${digest}`)).text, 'content')
    for (const query of [
      `mount=${digest}&from=four`,
      `mount=${digestOf('none')}&from=one`,
      `mount=${digestOf('none')}`,
    ]) {
      assert.equal((await test.send('POST', `/v2/five/blobs/uploads/?${query}`)).status, 202, query)
    }
  })
})

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

describe('a registry: discovery', () => {
  it('lists tags in order, in pages', async () => {
    await using test = await startTestRegistry()
    const { manifest } = await test.pushImage('app', 'b', 'layer')
    for (const tag of ['a', 'C', 'd', '1']) await test.putManifest('app', tag, manifest)
    const all = (await test.send('GET', '/v2/app/tags/list')).json()
    assert.deepEqual(all, { name: 'app', tags: ['1', 'C', 'a', 'b', 'd'] })
    const first = await test.send('GET', '/v2/app/tags/list?n=2')
    assert.deepEqual(first.json()['tags'], ['1', 'C'])
    assert.equal(first.headers.get('link'), '</v2/app/tags/list?n=2&last=C>; rel="next"')
    const rest = await test.send('GET', '/v2/app/tags/list?n=9&last=C')
    assert.deepEqual([rest.json()['tags'], rest.headers.get('link')], [['a', 'b', 'd'], null])
    assert.deepEqual((await test.send('GET', '/v2/app/tags/list?last=aa')).json()['tags'], ['b', 'd'])
    const none = await test.send('GET', '/v2/app/tags/list?n=0')
    assert.deepEqual([none.json()['tags'], none.headers.get('link')], [[], null])
    assert.equal((await test.send('GET', '/v2/app/tags/list?n=x')).status, 400)
  })

  it('lists repositories in pages', async () => {
    await using test = await startTestRegistry()
    for (const name of ['b', 'a/b/c', 'a/b']) await test.pushImage(name, '1', 'layer')
    assert.deepEqual((await test.send('GET', '/v2/_catalog')).json()['repositories'], ['a/b', 'a/b/c', 'b'])
    const page = await test.send('GET', '/v2/_catalog?n=1&last=a/b')
    assert.deepEqual(page.json()['repositories'], ['a/b/c'])
    assert.match(page.headers.get('link') ?? '', /last=a%2Fb%2Fc/)
  })

  it('lists what refers to a manifest, filtered and in pages', async () => {
    await using test = await startTestRegistry()
    const { digest, manifest } = await test.pushImage('app', '1', 'layer')
    const subject = { ...describeJson(manifest, mediaTypes.manifest) }
    const config = { mediaType: mediaTypes.empty, digest: await test.pushBlob('app', '{}'), size: 2 }
    const empty = (await test.send('GET', `/v2/app/referrers/${digest}`)).json()
    assert.deepEqual(empty, { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] })
    const artifacts = ['x/sbom', 'x/signature', 'x/signature'].map((artifactType, at) => ({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      artifactType,
      config,
      layers: [],
      subject,
      annotations: { at: String(at) },
    }))
    for (const artifact of artifacts) {
      const answer = await test.putManifest('app', digestOf(JSON.stringify(artifact)), artifact)
      assert.equal(answer.headers.get('oci-subject'), digest)
    }
    // Without an artifact type it is the type of the config; an index has none.
    const { artifactType: _, ...plain } = artifacts[0] ?? {}
    await test.putManifest('app', digestOf(JSON.stringify(plain)), plain)
    const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [], subject }
    await test.putManifest('app', digestOf(JSON.stringify(index)), index, mediaTypes.index)
    const list = async (
      query = '',
    ): Promise<{ link: string | null; filters: string | null; found: Record<string, unknown>[] }> => {
      const { headers, json } = await test.send('GET', `/v2/app/referrers/${digest}${query}`)
      assert.equal(headers.get('content-type'), mediaTypes.index)
      const found = json()['manifests'] as Record<string, unknown>[]
      return { link: headers.get('link'), filters: headers.get('oci-filters-applied'), found }
    }
    const types = (await list()).found.map(({ artifactType }) => artifactType)
    assert.deepEqual(types.map(String).toSorted(), [
      'application/vnd.oci.empty.v1+json',
      'undefined',
      'x/sbom',
      'x/signature',
      'x/signature',
    ])
    const signatures = await list('?artifactType=x/signature')
    assert.deepEqual([signatures.filters, signatures.found.length], ['artifactType', 2])
    assert.deepEqual(signatures.found[0]?.['annotations'] !== undefined, true)
    const pages: unknown[] = []
    for (let next: string | undefined = '?n=2'; next !== undefined;) {
      const page = await list(next)
      pages.push(...page.found.map((entry) => entry['digest']))
      next = /\?[^>]*/.exec(page.link ?? '')?.[0]
    }
    assert.equal(new Set(pages).size, 5)
    assert.equal((await test.send('GET', '/v2/app/referrers/x')).status, 400)
    const gone = digestOf(JSON.stringify(artifacts[0]))
    await test.send('DELETE', `/v2/app/manifests/${gone}`)
    assert.equal((await list()).found.length, 4)
  })

  it('takes a referrer before its subject', async () => {
    await using test = await startTestRegistry()
    const config = { mediaType: mediaTypes.empty, digest: await test.pushBlob('app', '{}'), size: 2 }
    const subject = describeJson({ later: 1 }, mediaTypes.manifest)
    const artifact = {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      artifactType: 'x/y',
      config,
      layers: [],
      subject,
    }
    assert.equal((await test.putManifest('app', digestOf(JSON.stringify(artifact)), artifact)).status, 201)
    assert.equal(
      (((await test.send('GET', `/v2/app/referrers/${subject.digest}`)).json()['manifests'] as unknown[]) ?? []).length,
      1,
    )
  })
})

describe('a registry: deletion', () => {
  it('deletes a tag and keeps the manifest', async () => {
    await using test = await startTestRegistry()
    const { digest } = await test.pushImage('app', '1', 'layer')
    assert.equal((await test.send('DELETE', '/v2/app/manifests/1')).status, 202)
    assert.equal((await test.send('GET', '/v2/app/manifests/1')).status, 404)
    assert.equal((await test.send('GET', `/v2/app/manifests/${digest}`)).status, 200)
    assert.equal((await test.send('DELETE', '/v2/app/manifests/1')).status, 404)
  })

  it('deletes a manifest with all its tags, then its blobs', async () => {
    await using test = await startTestRegistry()
    const { digest, layer, manifest } = await test.pushImage('app', '1', 'layer')
    await test.putManifest('app', '2', manifest)
    const inUse = await test.send('DELETE', `/v2/app/blobs/${layer}`)
    assert.deepEqual([inUse.status, inUse.json().errors[0].code], [405, 'DENIED'])
    assert.equal((await test.send('DELETE', `/v2/app/manifests/${digest}`)).status, 202)
    assert.deepEqual((await test.send('GET', '/v2/app/tags/list')).json()['tags'], [])
    assert.equal((await test.send('DELETE', `/v2/app/blobs/${layer}`)).status, 202)
    assert.equal((await test.send('GET', `/v2/app/blobs/${layer}`)).status, 404)
    assert.equal((await test.send('DELETE', `/v2/app/blobs/${layer}`)).status, 404)
  })

  it('refuses methods that are not of the endpoint', async () => {
    await using test = await startTestRegistry()
    const answer = await test.send('POST', '/v2/app/manifests/1')
    assert.deepEqual([answer.status, answer.headers.get('allow')], [405, 'GET, HEAD, PUT, DELETE'])
  })
})

describe('a registry and its layout', () => {
  it('serves what is built into the layout while it runs, with its referrers', async () => {
    await using test = await startTestRegistry()
    const layout = await openLayout(test.dir)
    const layer = await layout.writeBlob(Buffer.from('layer'))
    const child = await layout.writeJson(mediaTypes.manifest, {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: await layout.writeJson(mediaTypes.config, { os: 'linux', architecture: 'amd64' }),
      layers: [{ mediaType: mediaTypes.layer, ...layer }],
    })
    const index = await layout.writeJson(mediaTypes.index, {
      schemaVersion: 2,
      mediaType: mediaTypes.index,
      manifests: [{ ...child, platform: { os: 'linux', architecture: 'amd64' } }],
    })
    await layout.tag('localhost/shop/web:1.0', index)
    await layout.tag('ghcr.io/other/app:1.0', index)
    const empty = await layout.writeBlob(Buffer.from('{}'))
    const signature = await layout.writeJson(mediaTypes.manifest, {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      artifactType: 'x/signature',
      config: { mediaType: mediaTypes.empty, ...empty },
      layers: [],
      subject: child,
    })
    await layout.attach(signature)
    assert.deepEqual((await test.send('GET', '/v2/_catalog')).json()['repositories'], ['shop/web'])
    for (const target of [
      'manifests/1.0',
      `manifests/${index.digest}`,
      `manifests/${child.digest}`,
      `manifests/${signature.digest}`,
    ]) {
      assert.equal((await test.send('GET', `/v2/shop/web/${target}`)).status, 200, target)
    }
    assert.equal((await test.send('GET', `/v2/shop/web/blobs/${layer.digest}`)).text, 'layer')
    assert.equal((await test.send('GET', `/v2/shop/web/blobs/${empty.digest}`)).text, '{}')
    const referrers = (await test.send('GET', `/v2/shop/web/referrers/${child.digest}`)).json()['manifests'] as {
      digest: string
    }[]
    assert.deepEqual(
      referrers.map(({ digest }) => digest),
      [signature.digest],
    )
    const refused = await test.send('DELETE', `/v2/shop/web/manifests/${child.digest}`)
    assert.deepEqual(
      [refused.status, refused.json().errors[0].detail?.['exception']],
      [405, 'ImageReferencedByManifestList'],
    )
    await layout.untag('localhost/shop/web:1.0')
    assert.equal((await test.send('GET', '/v2/shop/web/manifests/1.0')).status, 404)
  })

  it('puts what is pushed where the layout finds it', async () => {
    await using test = await startTestRegistry()
    const { digest } = await test.pushImage('team/app', '1.0', 'layer')
    const layout = await openLayout(test.dir)
    assert.equal((await layout.resolve('localhost/team/app:1.0', 'linux/amd64'))?.descriptor.digest, digest)
    const marker = await readFile(join(test.dir, 'oci-layout'), 'utf8')
    assert.match(marker, /1\.0\.0/)
  })

  it('tells policies what there is: tags, times, sizes, who refers to what', async () => {
    await using test = await startTestRegistry()
    const before = new Date().toISOString()
    const { digest, manifest } = await test.pushImage('app', '1', 'layer')
    await test.putManifest('app', '2', manifest)
    assert.equal(test.registry.store.images('app')[0]?.lastPulledAt, undefined)
    await test.send('GET', '/v2/app/manifests/1')
    let image = test.registry.store.images('app')[0]
    while (image?.lastPulledAt === undefined) {
      await new Promise(setImmediate)
      image = test.registry.store.images('app')[0]
    }
    assert.deepEqual([image.digest, image.tags, image.isChild], [digest, ['1', '2'], false])
    assert.ok(image.pushedAt >= before && image.lastPulledAt >= before)
    assert.ok(image.contentBytes > 5)
  })
})

describe('serveRegistry', () => {
  const refused = [
    { name: 'other machines without TLS', options: { host: '0.0.0.0' } },
    { name: 'other machines without a login', options: { host: '0.0.0.0', plainHttp: true } },
    { name: 'nobody at all', options: { anonymous: 'none' as const } },
    { name: 'a password file that is not there', options: { htpasswd: '/nowhere/htpasswd' } },
    {
      name: 'two upstreams with one prefix',
      options: {
        upstreams: [
          { prefix: 'a', registry: 'b' },
          { prefix: 'a', registry: 'c' },
        ],
      },
    },
  ]
  for (const { name, options } of refused) {
    it(`refuses to serve ${name}`, async () => {
      await assert.rejects(startTestRegistry(options), { code: 'FAIRLEAD_OCI_REGISTRY_SETTING' })
    })
  }

  it('says that the port is in use', async () => {
    await using test = await startTestRegistry()
    const port = Number(new URL(test.registry.url).port)
    await assert.rejects(serveRegistry({ dir: test.dir, port }), { code: 'FAIRLEAD_OCI_REGISTRY_LISTEN' })
  })

  it('answers only its own names, and no other web pages', async () => {
    await using test = await startTestRegistry({ names: ['registry.example'] })
    const { request } = await import('node:http')
    const ask = (headers: Record<string, string>): Promise<number> =>
      new Promise((resolve, reject) => {
        const asked = request(`${test.registry.url}/v2/`, { headers }, (response) => {
          response.resume()
          resolve(response.statusCode ?? 0)
        })
        asked.on('error', reject).end()
      })
    assert.equal(await ask({ host: 'evil.example' }), 421)
    assert.equal(await ask({ host: 'localhost:5000' }), 200)
    assert.equal(await ask({ host: 'registry.example:443' }), 200)
    assert.equal(await ask({ host: '[::1]:5000' }), 200)
    assert.equal(await ask({ origin: 'https://evil.example' }), 403)
  })

  it('makes an answer of a fault, tells the log, and goes on', async () => {
    const logged: string[] = []
    await using test = await startTestRegistry({ onLog: ({ msg }) => logged.push(msg) })
    await rm(join(test.dir, 'registry', 'uploads'), { recursive: true })
    const answer = await sendTo(test.registry.url, 'POST', '/v2/app/blobs/uploads/')
    assert.deepEqual([answer.status, answer.json().errors[0].code], [500, 'UNKNOWN'])
    assert.deepEqual(logged, ['registry request failed'])
    assert.equal((await test.send('GET', '/v2/')).status, 200)
  })
})
