import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { digestOf } from '../../spec/digest.ts'
import { mediaTypes } from '../../spec/media-types.ts'
import { describeJson, startTestRegistry } from './registry-fixture.ts'

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
