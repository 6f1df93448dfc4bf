import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { createRegistryClient } from '../client.ts'
import { startTestRegistry } from './registry-fixture.ts'
import type { TestRegistry } from './registry-fixture.ts'

async function startCache(upstream: TestRegistry, tagTtlMs?: number): Promise<TestRegistry> {
  return startTestRegistry({
    upstreams: [{ prefix: 'hub', registry: upstream.registry.address, repositoryPrefix: 'library', tagTtlMs }],
    upstreamClient: createRegistryClient({ retries: 0, timeoutMs: 2000 }),
  })
}

describe('a pull-through cache', () => {
  it('fetches what is asked for, once, and serves it when the other registry is gone', async () => {
    const upstream = await startTestRegistry()
    await using cache = await startCache(upstream, 0)
    const { digest, layer } = await upstream.pushImage('library/node', '24', 'layer of node')
    const other = await upstream.pushImage('library/node', '25', 'not asked for')
    const first = await cache.send('GET', '/v2/hub/node/manifests/24')
    assert.deepEqual([first.status, first.headers.get('docker-content-digest')], [200, digest])
    const pulls = await Promise.all(Array.from({ length: 5 }, () => cache.send('GET', `/v2/hub/node/blobs/${layer}`)))
    assert.deepEqual(
      pulls.map(({ text }) => text),
      Array.from({ length: 5 }, () => 'layer of node'),
    )
    assert.deepEqual((await cache.send('GET', '/v2/hub/node/tags/list')).json()['tags'], ['24'])
    await cache.send('GET', '/v2/hub/node/manifests/25')
    await upstream[Symbol.asyncDispose]()
    const stale = await cache.send('GET', '/v2/hub/node/manifests/24')
    assert.equal(stale.status, 200)
    assert.match(stale.headers.get('warning') ?? '', /^299 - "/)
    assert.equal((await cache.send('GET', `/v2/hub/node/manifests/${digest}`)).headers.get('warning'), null)
    assert.equal((await cache.send('GET', `/v2/hub/node/blobs/${layer}`)).text, 'layer of node')
    const absent = await cache.send('GET', `/v2/hub/node/blobs/${other.layer}`)
    assert.deepEqual([absent.status, absent.json().errors[0].code], [503, 'UNAVAILABLE'])
    assert.equal((await cache.send('GET', '/v2/hub/node/manifests/26')).status, 503)
    assert.deepEqual((await cache.registry.check()).problems, [])
  })

  it('asks again for a tag when its time is over, never for a digest', async () => {
    await using upstream = await startTestRegistry()
    await using cache = await startCache(upstream, 60_000)
    await using impatient = await startCache(upstream, 0)
    const old = await upstream.pushImage('library/app', 'latest', 'old')
    for (const registry of [cache, impatient]) await registry.send('GET', '/v2/hub/app/manifests/latest')
    const recent = await upstream.pushImage('library/app', 'latest', 'new')
    const digest = async (registry: TestRegistry): Promise<string | null> =>
      (await registry.send('GET', '/v2/hub/app/manifests/latest')).headers.get('docker-content-digest')
    assert.equal(await digest(cache), old.digest)
    assert.equal(await digest(impatient), recent.digest)
  })

  it('is not pushed to, and says what the other registry does not have', async () => {
    await using upstream = await startTestRegistry()
    await using cache = await startCache(upstream)
    assert.equal((await cache.send('POST', '/v2/hub/node/blobs/uploads/')).status, 405)
    assert.equal((await cache.send('POST', '/v2/own/node/blobs/uploads/')).status, 202)
    const absent = await cache.send('GET', '/v2/hub/node/manifests/none')
    assert.deepEqual([absent.status, absent.json().errors[0].code], [404, 'MANIFEST_UNKNOWN'])
  })

  it('passes a large blob on as it comes, and never the whole of a damaged one', async () => {
    await using upstream = await startTestRegistry()
    await using cache = await startCache(upstream)
    const content = Buffer.alloc(3 << 20, 'abcdefg').toString()
    const { layer, digest } = await upstream.pushImage('library/app', '1', content)
    await cache.send('GET', `/v2/hub/app/manifests/${digest}`)
    assert.equal((await cache.send('GET', `/v2/hub/app/blobs/${layer}`)).text, content)
    const other = await upstream.pushImage('library/app', '2', `${content}2`)
    const { writeFile } = await import('node:fs/promises')
    await writeFile(upstream.registry.store.layout.blobPath(other.layer), `${content}X`)
    await cache.send('GET', '/v2/hub/app/manifests/2')
    await assert.rejects(cache.send('GET', `/v2/hub/app/blobs/${other.layer}`))
    assert.equal(cache.registry.store.blobSize(other.layer), undefined)
  })
})
