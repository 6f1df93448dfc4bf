import assert from 'node:assert/strict'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { openLayout } from '../../layout/layout.ts'
import { mediaTypes } from '../../spec/media-types.ts'
import { sendTo, startTestRegistry } from './registry-fixture.ts'
import { serveRegistry } from './server.ts'

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
