import assert from 'node:assert/strict'
import { mkdirSync, mkdtempDisposableSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { openLayout } from '../layout/layout.ts'
import { parseReference, renderReference } from '../spec/reference.ts'
import { addImage, startScriptedRegistry } from './client.fixture.ts'
import { createRegistryClient } from './client.ts'
import { parseRegistryRoutes } from './mirrors.ts'
import { pullTree } from './pull.ts'
import { pushImage } from './push.ts'
import { serveRegistry } from './server/server.ts'
import { createUserClient } from './user-client.ts'

const digest = `sha256:${'0'.repeat(64)}`

function sources(registries: object[], image: string): string[] {
  const routes = parseRegistryRoutes(JSON.stringify({ registries }), 'registries.json')
  return routes.sourcesOf(parseReference(image)).map(renderReference)
}

describe('parseRegistryRoutes', () => {
  const hub = { prefix: 'docker.io', mirrors: [{ location: 'm1.example/hub' }, { location: '127.0.0.1:5001' }] }
  const cases = [
    { name: 'leaves other registries alone', given: [hub], image: 'ghcr.io/a/b:1', expected: ['ghcr.io/a/b:1'] },
    {
      name: 'asks mirrors in their order, and the registry last',
      given: [hub],
      image: 'nginx',
      expected: [
        'm1.example/hub/library/nginx:latest',
        '127.0.0.1:5001/library/nginx:latest',
        'docker.io/library/nginx:latest',
      ],
    },
    {
      name: 'takes the longest prefix, by whole parts',
      given: [
        hub,
        { prefix: 'docker.io/lib', location: 'wrong.example' },
        { prefix: 'docker.io/library', location: 'own.example/x' },
      ],
      image: 'nginx:1',
      expected: ['own.example/x/nginx:1'],
    },
    {
      name: 'knows the hosts below a name',
      given: [{ prefix: '*.corp.example', mirrors: [{ location: 'cache.example/corp' }] }],
      image: 'a.corp.example/team/app:1',
      expected: ['cache.example/corp/team/app:1', 'a.corp.example/team/app:1'],
    },
    {
      name: 'asks some mirrors for digests only, or for tags only',
      given: [
        {
          prefix: 'r.example',
          mirrors: [
            { location: 'd.example', pullFromMirror: 'digest-only' },
            { location: 't.example', pullFromMirror: 'tag-only' },
          ],
        },
      ],
      image: `r.example/app@${digest}`,
      expected: [`d.example/app@${digest}`, `r.example/app@${digest}`],
    },
  ]
  for (const { name, given, image, expected } of cases) {
    it(name, () => assert.deepEqual(sources(given, image), expected))
  }

  it('blocks registries', () => {
    assert.throws(() => sources([{ prefix: 'bad.example', blocked: true }], 'bad.example/a'), {
      code: 'FAIRLEAD_OCI_REGISTRY_BLOCKED',
    })
  })

  it('tells which hosts have no TLS', () => {
    const registries = [{ prefix: 'r.example', mirrors: [{ location: 'm.example:80/a', insecure: true }] }]
    const routes = parseRegistryRoutes(JSON.stringify({ registries }), 'f')
    assert.deepEqual(
      ['m.example:80', 'r.example'].map((host) => routes.isPlainHttp(host)),
      [true, false],
    )
  })

  it('tells everything that is wrong at once', () => {
    const registries = [
      { prefix: 'https://r.example', mirrors: [{ location: 'm.example', insecure: 'yes', url: 'x' }] },
      { prefix: 'a.example', mirrors: [{ location: 'b.example', pullFromMirror: 'never' }] },
      { prefix: 'a.example' },
    ]
    assert.throws(() => parseRegistryRoutes(JSON.stringify({ registries }), '/etc/f'), {
      code: 'FAIRLEAD_OCI_REGISTRIES',
      message: /"\/etc\/f": registries\[0\]\.prefix .*"url".*insecure .*pullFromMirror.*"a\.example" is there twice/s,
    })
    for (const text of ['{', '[]', '{"registries": {}}']) {
      assert.throws(() => parseRegistryRoutes(text, 'f'), { code: 'FAIRLEAD_OCI_REGISTRIES' })
    }
  })
})

describe('createUserClient', () => {
  it('pulls through the mirror of registries.json, a pull-through cache of ours, and past it when it is gone', async () => {
    using folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-mirrors-'))
    await using origin = await startScriptedRegistry()
    const source = await openLayout(join(folder.path, 'source'))
    await addImage(source, 'localhost/app:1', [Buffer.from('layer')])
    await pushImage('localhost/app:1', `${origin.host}/team/app:1`, { layout: source })
    const cache = await serveRegistry({
      dir: join(folder.path, 'cache'),
      upstreams: [{ prefix: 'origin', registry: origin.host }],
      collect: { everyMs: 0 },
    })
    const env = { FAIRLEAD_HOME: join(folder.path, 'home'), HOME: folder.path }
    const registries = [{ prefix: origin.host, mirrors: [{ location: `${cache.address}/origin` }] }]
    mkdirSync(env.FAIRLEAD_HOME)
    writeFileSync(join(env.FAIRLEAD_HOME, 'registries.json'), JSON.stringify({ registries }))
    const pull = async (name: string): Promise<string> => {
      const layout = await openLayout(join(folder.path, name))
      const client = createUserClient({ env, retryDelayMs: 1 })
      return (await pullTree(`${origin.host}/team/app:1`, { layout, client })).pinned
    }
    const first = await pull('first')
    assert.ok(first.startsWith(`${origin.host}/team/app@sha256:`), 'it has the name it was asked for by')
    origin.requests.length = 0
    assert.equal(await pull('second'), first)
    assert.deepEqual(origin.requests, [], 'everything came from the cache')
    await cache.close()
    assert.equal(await pull('third'), first)
    assert.ok(origin.requests.length > 0)
  })

  it('leaves a mirror in peace that cannot be reached, and tells of it when nobody has the image', async () => {
    await using origin = await startScriptedRegistry()
    await using dead = await startScriptedRegistry((_request, response) => {
      response.destroy()
      return true
    })
    const client = createRegistryClient({
      retries: 0,
      sources: (reference) => [{ ...reference, registry: dead.host }, reference],
    })
    const reference = parseReference(`${origin.host}/none:1`)
    await assert.rejects(client.manifest(reference), (error: Error & { code: string }) => {
      assert.equal(error.code, 'FAIRLEAD_OCI_REGISTRY_NOT_FOUND')
      assert.match((error.cause as Error).message, new RegExp(`mirrors failed too: .*${dead.host}`))
      return true
    })
    const asked = dead.requests.length
    await assert.rejects(client.manifest(reference), { code: 'FAIRLEAD_OCI_REGISTRY_NOT_FOUND' })
    assert.equal(dead.requests.length, asked)
  })

  it('names a broken file', async () => {
    using folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-mirrors-'))
    writeFileSync(join(folder.path, 'registries.json'), '{')
    const client = createUserClient({ env: { FAIRLEAD_HOME: folder.path, HOME: folder.path } })
    await assert.rejects(client.manifest(parseReference('r.example/app:1')), { code: 'FAIRLEAD_OCI_REGISTRIES' })
  })
})
