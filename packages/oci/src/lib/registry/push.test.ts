import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { openLayout } from '../layout/layout.ts'
import type { Layout } from '../layout/layout.ts'
import { digestOf } from '../spec/digest.ts'
import { mediaTypes } from '../spec/media-types.ts'
import type { Reference } from '../spec/reference.ts'
import { createRegistryClient } from './client.ts'
import { addImage, addIndex, addReferrer, startScriptedRegistry } from './client.fixture.ts'
import { copyImage } from './copy.ts'
import { pullTree } from './pull.ts'
import { pushImage } from './push.ts'
import { listReferrers, putReferrer } from './referrers.ts'

let work: string
let layout: Layout

before(async () => {
  work = await mkdtemp(join(tmpdir(), 'fairlead-push-'))
  layout = await openLayout(join(work, 'layout'))
})
after(() => rm(work, { recursive: true, force: true }))

const client = (options = {}): ReturnType<typeof createRegistryClient> =>
  createRegistryClient({ retryDelayMs: 1, timeoutMs: 5_000, ...options })
const big = randomBytes(6 << 20)
const other = randomBytes(6 << 20)

describe('pushImage', () => {
  it('sends the blobs, then the manifest under the tag, and says what the registry has now', async () => {
    await using registry = await startScriptedRegistry()
    const image = await addImage(layout, 'localhost/app:1', [Buffer.from('base'), Buffer.from('app 1')])
    const pushed = await pushImage('localhost/app:1', `${registry.host}/team/app:1`, { layout, client: client() })
    assert.deepEqual(pushed.blobs, { moved: 3, mounted: 0, known: 0 })
    assert.equal(pushed.pinned, `${registry.host}/team/app@${image.digest}`)
    assert.equal(digestOf(registry.manifests.get('team/app 1')?.bytes ?? ''), image.digest)
    assert.match(registry.requests.at(-1) ?? '', /^PUT \/v2\/team\/app\/manifests\/1$/)
    assert.equal(registry.uploads.size, 0)
  })

  it('sends the application layer only after a change, and nothing when there is none', async () => {
    await using registry = await startScriptedRegistry()
    const target = `${registry.host}/team/app:latest`
    await addImage(layout, 'localhost/app:1', [big, Buffer.from('app 1')])
    await pushImage('localhost/app:1', target, { layout, client: client() })
    await addImage(layout, 'localhost/app:2', [big, Buffer.from('app, another line')])
    const changed = await pushImage('localhost/app:2', target, { layout, client: client() })
    assert.deepEqual(changed.blobs, { moved: 2, mounted: 0, known: 1 })
    assert.ok(changed.movedBytes < 1000, String(changed.movedBytes))
    const same = await pushImage('localhost/app:2', target, { layout, client: client() })
    assert.deepEqual([same.movedBytes, same.manifests, same.requests], [0, 0, 2])
  })

  it('pushes an index after its manifests, and one platform of it when asked', async () => {
    await using registry = await startScriptedRegistry()
    const index = await addIndex(layout, 'localhost/many:1', Buffer.from('shared'))
    const pushed = await pushImage('localhost/many:1', `${registry.host}/many:1`, { layout, client: client() })
    assert.deepEqual([pushed.descriptor.digest, pushed.manifests, pushed.blobs.moved], [index.digest, 3, 5])
    const puts = registry.requests.filter((line) => line.startsWith('PUT /v2/many/manifests'))
    assert.match(puts.at(-1) ?? '', /manifests\/1$/)
    const options = { layout, client: client(), platform: 'linux/arm64' }
    const one = await pushImage('localhost/many:1', `${registry.host}/one:1`, options)
    assert.deepEqual([one.manifests, one.descriptor.mediaType], [1, mediaTypes.manifest])
  })

  it('mounts blobs of repositories that the layout knows', async () => {
    await using registry = await startScriptedRegistry()
    const one = `${registry.host}/team/one:1`
    await addImage(layout, one, [big, Buffer.from('one')])
    await pushImage(one, one, { layout, client: client() })
    await addImage(layout, 'localhost/two:1', [big, Buffer.from('two')])
    const pushed = await pushImage('localhost/two:1', `${registry.host}/team/two:1`, { layout, client: client() })
    assert.equal(pushed.blobs.mounted, 1)
    assert.ok(pushed.movedBytes < 1000)
  })

  it('goes on where the registry has it when the connection breaks', async () => {
    await using registry = await startScriptedRegistry()
    registry.cuts = 3
    await addImage(layout, 'localhost/cut:1', [big])
    const pushed = await pushImage('localhost/cut:1', `${registry.host}/cut:1`, { layout, client: client() })
    assert.equal(registry.cuts, 0)
    assert.equal(registry.requests.filter((line) => line.startsWith('POST')).length, 2)
    assert.ok(pushed.movedBytes < 2 * big.byteLength, String(pushed.movedBytes))
    assert.ok(registry.blobs.get(`cut ${digestOf(big)}`)?.equals(big))
  })

  it('starts anew when the registry has forgotten the upload, and goes on after 416', async () => {
    await using registry = await startScriptedRegistry()
    let step = 0
    registry.intercept = (request, response) => {
      if (request.method !== 'PATCH') return false
      step += 1
      if (step === 1) {
        registry.uploads.clear()
        response.writeHead(404).end()
        return true
      }
      if (step !== 2) return false
      response.writeHead(416, { range: '0-0' }).end()
      return true
    }
    await addImage(layout, 'localhost/lost:1', [big])
    await pushImage('localhost/lost:1', `${registry.host}/lost:1`, { layout, client: client() })
    assert.ok(registry.blobs.get(`lost ${digestOf(big)}`)?.equals(big))
  })

  it('sends parts when the registry takes no large requests', async () => {
    await using registry = await startScriptedRegistry()
    const larger = randomBytes(20 << 20)
    registry.intercept = (request, response) => {
      if (Number(request.headers['content-length'] ?? 0) <= 10 << 20) return false
      response.writeHead(413).end()
      return true
    }
    await addImage(layout, 'localhost/parts:1', [larger])
    await pushImage('localhost/parts:1', `${registry.host}/parts:1`, { layout, client: client() })
    assert.equal(registry.requests.filter((line) => line.startsWith('PATCH')).length, 4)
    assert.ok(registry.blobs.get(`parts ${digestOf(larger)}`)?.equals(larger))
  })

  it('waits as long as a busy registry asks, and tries again after 500 and a hang', async () => {
    await using registry = await startScriptedRegistry()
    let step = 0
    registry.intercept = (request, response, path) => {
      if (!path.includes('/blobs/uploads/')) return false
      step += 1
      if (step === 1) response.writeHead(429, { 'retry-after': '0' }).end()
      else if (step === 2) response.writeHead(500).end()
      // The third is never answered.
      return step <= 3
    }
    await addImage(layout, 'localhost/busy:1', [Buffer.from('x')])
    const options = { layout, client: client({ timeoutMs: 1000 }), parallel: 1 }
    await pushImage('localhost/busy:1', `${registry.host}/busy:1`, options)
    assert.ok(step > 3)
  })

  it('says what the registry says when it refuses, and keeps the old tag', async () => {
    await using registry = await startScriptedRegistry()
    registry.intercept = (request, response, path) => {
      if (request.method !== 'PUT' || !path.includes('/manifests/')) return false
      const body = { errors: [{ code: 'TAG_INVALID', message: 'The image tag is immutable\u001B[2J' }] }
      response.writeHead(400).end(JSON.stringify(body))
      return true
    }
    await addImage(layout, 'localhost/fixed:1', [Buffer.from('x')])
    const refused = pushImage('localhost/fixed:1', `${registry.host}/fixed:1`, { layout, client: client() })
    await assert.rejects(refused, (error: Error & { code?: string }) => {
      assert.equal(error.code, 'FAIRLEAD_OCI_REGISTRY_REFUSED')
      assert.match(error.message, /TAG_INVALID: The image tag is immutable \[2J$/)
      return true
    })
  })

  it('does not believe a registry that confirms another digest', async () => {
    await using registry = await startScriptedRegistry()
    registry.intercept = (request, response, path) => {
      if (request.method !== 'PUT' || !path.includes('/manifests/')) return false
      request.resume().on('end', () => response.writeHead(201, { 'docker-content-digest': digestOf('other') }).end())
      return true
    }
    await addImage(layout, 'localhost/liar:1', [Buffer.from('x')])
    const lied = pushImage('localhost/liar:1', `${registry.host}/liar:1`, { layout, client: client() })
    await assert.rejects(lied, { code: 'FAIRLEAD_OCI_REGISTRY_ANSWER', message: /expected "sha256:/ })
  })

  it('leaves no upload and no tag behind when it is interrupted, and the next push goes on', async () => {
    await using registry = await startScriptedRegistry()
    await addImage(layout, 'localhost/stop:1', [big, Buffer.from('small')])
    const controller = new AbortController()
    const stopped = pushImage('localhost/stop:1', `${registry.host}/stop:1`, {
      layout,
      client: client(),
      signal: controller.signal,
      parallel: 1,
      onProgress: ({ movedBytes }) => movedBytes > 1_000_000 && controller.abort(new Error('Ctrl-C')),
    })
    await assert.rejects(stopped, /Ctrl-C/)
    assert.equal(registry.uploads.size, 0)
    assert.equal(registry.manifests.size, 0)
    const again = await pushImage('localhost/stop:1', `${registry.host}/stop:1`, { layout, client: client() })
    assert.equal(again.blobs.known, 1)
  })

  it('can be done twice at once', async () => {
    await using registry = await startScriptedRegistry()
    await addImage(layout, 'localhost/twice:1', [big, Buffer.from('small')])
    const push = (): Promise<unknown> =>
      pushImage('localhost/twice:1', `${registry.host}/twice:1`, { layout, client: client() })
    await Promise.all([push(), push()])
    assert.ok(registry.manifests.has('twice 1'))
    assert.equal(registry.uploads.size, 0)
  })

  it('authorises a mount for both repositories and renews a token that has expired', async () => {
    await using registry = await startScriptedRegistry()
    const scopes: string[] = []
    let valid = 1
    registry.intercept = (request, response, path) => {
      const url = new URL(path, `http://${registry.host}`)
      if (url.pathname === '/token') {
        scopes.push(url.searchParams.getAll('scope').join(' '))
        response.end(JSON.stringify({ token: `t${valid}`, expires_in: 300 }))
        return true
      }
      if (request.headers.authorization === `Bearer t${valid}`) {
        // ECR public answers 400 for a token that has expired.
        if (path.includes('/manifests/') && request.method === 'PUT' && valid === 1) {
          valid = 2
          request.resume().on('end', () => response.writeHead(400).end('{}'))
          return true
        }
        return false
      }
      const realm = `http://${registry.host}/token`
      const challenge = `Bearer realm="${realm}",service="s",scope="repository:two:pull"`
      response.writeHead(401, { 'www-authenticate': challenge }).end()
      return true
    }
    registry.blobs.set(`one ${digestOf(big)}`, big)
    await addImage(layout, 'localhost/auth:1', [big])
    const options = { layout, client: client(), mountFrom: ['one'] }
    const pushed = await pushImage('localhost/auth:1', `${registry.host}/two:1`, options)
    assert.equal(pushed.blobs.mounted, 1)
    assert.ok(scopes.includes('repository:two:pull,push repository:one:pull'), scopes.join('\n'))
    assert.equal(valid, 2)
  })
})

describe('copyImage', () => {
  it('copies all platforms and what refers to them, through no disk', async () => {
    await using from = await startScriptedRegistry()
    await using to = await startScriptedRegistry()
    to.hasReferrers = true
    const index = await addIndex(layout, 'localhost/many:2', big)
    const signature = await addReferrer(layout, index, 'application/x-signature')
    await addReferrer(layout, signature, 'application/x-countersignature')
    await pushImage('localhost/many:2', `${from.host}/many:2`, { layout, client: client(), withReferrers: true })
    const progress: string[] = []
    const copied = await copyImage(`${from.host}/many:2`, `${to.host}/copy:2`, {
      client: client(),
      withReferrers: true,
      onProgress: ({ state }) => progress.push(state),
    })
    assert.deepEqual([copied.descriptor.digest, copied.referrers], [index.digest, 2])
    assert.ok(progress.includes('done'))
    const found = await listReferrers(`${to.host}/copy:2`, { client: client() })
    assert.deepEqual(
      found.map(({ digest, artifactType }) => [digest, artifactType]),
      [[signature.digest, 'application/x-signature']],
    )
    const writes = to.requests.filter((line) => !line.startsWith('HEAD') && !line.startsWith('GET'))
    assert.equal(writes.at(-1), 'PUT /v2/copy/manifests/2', 'the tag comes last')
  })

  it('mounts within one registry', async () => {
    await using registry = await startScriptedRegistry()
    await addImage(layout, 'localhost/near:1', [big])
    await pushImage('localhost/near:1', `${registry.host}/near:1`, { layout, client: client() })
    const copied = await copyImage(`${registry.host}/near:1`, `${registry.host}/other:1`, { client: client() })
    assert.deepEqual([copied.blobs, copied.movedBytes], [{ moved: 0, mounted: 2, known: 0 }, 0])
  })

  it('does not hand on content that is not what it is called', async () => {
    await using from = await startScriptedRegistry()
    await using to = await startScriptedRegistry()
    await addImage(layout, 'localhost/bad:1', [Buffer.from('good')])
    await pushImage('localhost/bad:1', `${from.host}/bad:1`, { layout, client: client() })
    from.blobs.set(`bad ${digestOf('good')}`, Buffer.from('evil'))
    await assert.rejects(copyImage(`${from.host}/bad:1`, `${to.host}/bad:1`, { client: client() }), {
      code: 'FAIRLEAD_OCI_DIGEST_MISMATCH',
      message: new RegExp(`Cannot pull "${from.host}/bad@${digestOf('good')}"`),
    })
    assert.equal(to.manifests.size, 0)
  })
})

describe('putReferrer', () => {
  const referrer = (n: number): Parameters<typeof putReferrer>[1] => {
    const blob = Buffer.from(`statement ${n}`)
    const layer = { mediaType: 'text/plain', digest: digestOf(blob), size: blob.byteLength }
    const config = { mediaType: mediaTypes.empty, digest: digestOf('{}'), size: 2 }
    return {
      manifest: { schemaVersion: 2, artifactType: 'application/x-test', config, layers: [layer] },
      blobs: [blob],
    }
  }

  for (const kind of ['the registry', 'the tag', 'the tag with entity tags'] as const) {
    it(`lists what several add at once, by ${kind}`, async () => {
      await using registry = await startScriptedRegistry()
      registry.hasReferrers = kind === 'the registry'
      registry.hasEtags = kind === 'the tag with entity tags'
      const reference = `${registry.host}/app:1`
      await addImage(layout, 'localhost/subject:1', [Buffer.from('x')])
      await pushImage('localhost/subject:1', reference, { layout, client: client() })
      const put = await Promise.all(
        [1, 2, 3, 4, 5].map((n) => putReferrer(reference, referrer(n), { client: client() })),
      )
      const again = await putReferrer(reference, referrer(1), { client: client() })
      assert.equal(again.digest, put[0]?.digest)
      const found = await listReferrers(reference, { client: client(), artifactType: 'application/x-test' })
      assert.deepEqual(found.map(({ digest }) => digest).toSorted(), put.map(({ digest }) => digest).toSorted())
      assert.deepEqual(await listReferrers(reference, { client: client(), artifactType: 'other' }), [])
    })
  }
})

describe('pullTree', () => {
  it('pulls all platforms and referrers, and takes transfers up that break off', async () => {
    await using registry = await startScriptedRegistry()
    const index = await addIndex(layout, 'localhost/many:3', other)
    const signature = await addReferrer(layout, index, 'application/x-signature')
    await pushImage('localhost/many:3', `${registry.host}/many:3`, { layout, client: client(), withReferrers: true })
    let cuts = 3
    registry.intercept = (request, response, path) => {
      if (request.method !== 'GET' || !path.endsWith(digestOf(other)) || cuts <= 0) return false
      cuts -= 1
      const from = Number(/\d+/.exec(request.headers.range ?? '')?.[0] ?? 0)
      const headers = {
        'content-length': other.byteLength - from,
        'content-range': `bytes ${from}-${other.byteLength - 1}/*`,
      }
      response.writeHead(from > 0 ? 206 : 200, headers)
      response.write(other.subarray(from, from + 1_000_000), () => response.destroy())
      return true
    }
    const target = await openLayout(join(work, 'pulled'))
    const reference = `${registry.host}/many:3`
    const pulled = await pullTree(reference, { layout: target, client: client(), withReferrers: true })
    assert.deepEqual([pulled.descriptor.digest, pulled.referrers, cuts], [index.digest, 1, 0])
    assert.ok(pulled.movedBytes < other.byteLength + 10_000, String(pulled.movedBytes))
    assert.ok(await target.resolve(reference, 'linux/arm64'))
    assert.deepEqual(
      (await target.referrers(index.digest)).map(({ digest }) => digest),
      [signature.digest],
    )
    const again = await pullTree(reference, { layout: target, client: client() })
    assert.equal(again.movedBytes, 0)
  })

  it('gives up on a registry that drips, and on manifests without end', async () => {
    await using registry = await startScriptedRegistry()
    await addImage(layout, 'localhost/drip:1', [Buffer.alloc(10_000, 'x')])
    await pushImage('localhost/drip:1', `${registry.host}/drip:1`, { layout, client: client() })
    const drips = new Set<NodeJS.Timeout>()
    registry.intercept = (request, response, path) => {
      if (request.method !== 'GET' || !path.includes('/blobs/')) return false
      response.writeHead(200, { 'content-length': 10_000 })
      const drip = setInterval(() => response.write('x'), 50)
      drips.add(drip)
      response.on('close', () => clearInterval(drip))
      return true
    }
    const target = await openLayout(join(work, 'dripped'))
    // No drip comes so late that it is silence, however busy the machine is, and all of them not before the time is up.
    const slow = client({ timeoutMs: 500, minBytesPerSecond: 1e9, retries: 0 })
    await assert.rejects(pullTree(`${registry.host}/drip:1`, { layout: target, client: slow }), {
      code: 'FAIRLEAD_OCI_REGISTRY_UNREACHABLE',
      message: /not done after/,
    })
    registry.intercept = (request, response, path) => {
      if (!path.includes('/manifests/')) return false
      response.writeHead(200, { 'content-type': mediaTypes.manifest }).end(Buffer.alloc(5 << 20, ' '))
      return true
    }
    await assert.rejects(pullTree(`${registry.host}/drip:1`, { layout: target, client: client() }), {
      code: 'FAIRLEAD_OCI_REGISTRY_ANSWER',
      message: /larger than/,
    })
  })

  it('reads manifests that come with a wrong type, and pulls by sha512', async () => {
    await using registry = await startScriptedRegistry()
    const image = await addImage(layout, 'localhost/type:1', [Buffer.from('x')])
    await pushImage('localhost/type:1', `${registry.host}/type:1`, { layout, client: client() })
    const stored = registry.manifests.get('type 1')
    assert.ok(stored)
    const digest = `sha512:${(await import('node:crypto')).createHash('sha512').update(stored.bytes).digest('hex')}`
    registry.manifests.set(`type ${digest}`, { ...stored, type: 'text/plain' })
    const target = await openLayout(join(work, 'types'))
    const pulled = await pullTree(`${registry.host}/type@${digest}`, { layout: target, client: client() })
    assert.equal(pulled.descriptor.digest, digest)
    assert.equal(pulled.descriptor.mediaType, mediaTypes.manifest)
    assert.equal(pulled.descriptor.size, image.size)
  })
})

describe('RegistryClient', () => {
  it('lists tags page by page and never leaves the host for them', async () => {
    await using registry = await startScriptedRegistry((_request, response, path) => {
      const last = new URL(path, 'http://x').searchParams.get('last')
      const link = last === null ? '</v2/a/tags/list?last=1>; rel="next"' : '<http://evil.example/x>; rel="next"'
      response.writeHead(200, { link }).end(JSON.stringify({ tags: [last === null ? '1' : '2'] }))
      return true
    })
    assert.deepEqual(await client().listTags({ registry: registry.host, repository: 'a' }), ['1', '2'])
  })

  it('deletes a tag or a manifest', async () => {
    await using registry = await startScriptedRegistry()
    const image = await addImage(layout, 'localhost/gone:1', [Buffer.from('x')])
    await pushImage('localhost/gone:1', `${registry.host}/gone:1`, { layout, client: client() })
    const reference = { registry: registry.host, repository: 'gone' }
    await client().delete({ ...reference, tag: '1' })
    await assert.rejects(client().resolve({ ...reference, tag: '1' }), { code: 'FAIRLEAD_OCI_REGISTRY_NOT_FOUND' })
    await client().delete({ ...reference, digest: image.digest })
    assert.equal(registry.manifests.size, 0)
  })

  it('reads from a mirror, and from the registry what the mirror does not have', async () => {
    await using registry = await startScriptedRegistry()
    await using mirror = await startScriptedRegistry()
    await addImage(layout, 'localhost/mirrored:1', [Buffer.from('x')])
    for (const { host } of [registry, mirror]) {
      await pushImage('localhost/mirrored:1', `${host}/m:1`, { layout, client: client() })
    }
    mirror.blobs.delete(`m ${digestOf('x')}`)
    registry.requests.length = 0
    const target = await openLayout(join(work, 'mirrored'))
    const sources = (there: Reference): Reference[] => [{ ...there, registry: mirror.host }, there]
    const options = { layout: target, client: client({ sources }) }
    await pullTree(`${registry.host}/m:1`, options)
    assert.deepEqual(registry.requests, [`GET /v2/m/blobs/${digestOf('x')}`])
  })

  it('buys tokens with an identity token, and with a password where only OAuth2 is known', async () => {
    await using registry = await startScriptedRegistry()
    const forms: string[] = []
    registry.intercept = async (request, response, path) => {
      if (path.startsWith('/token') && request.method === 'GET') response.writeHead(405).end()
      else if (path === '/token') {
        let text = ''
        for await (const chunk of request) text += String(chunk)
        const form = new URLSearchParams(text)
        forms.push(`${form.get('grant_type')} ${form.get('refresh_token') ?? form.get('password')}`)
        response.end(JSON.stringify({ access_token: 'abc' }))
      } else if (request.headers.authorization === 'Bearer abc') return false
      else {
        const realm = `http://${registry.host}/token`
        response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="s"` }).end()
      }
      return true
    }
    const base = { username: 'ada', password: 'pw' }
    await client({ credentials: () => ({ ...base, identityToken: 'idt' }) }).logIn(registry.host)
    await client({ credentials: () => base }).logIn(registry.host)
    assert.deepEqual(forms, ['refresh_token idt', 'password pw'])
  })
})
