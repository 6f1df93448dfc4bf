import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { openLayout } from '../layout/layout.ts'
import { digestOf } from '../spec/digest.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { parseChallenge } from './challenge.ts'
import { createRegistryClient } from './client.ts'
import type { RegistryClientOptions } from './exchange.ts'
import { pullImage } from './pull.ts'

type Handler = (request: IncomingMessage, response: ServerResponse, path: string) => boolean | void

/** A registry with one image for two platforms; `intercept` answers first and says so by `true`. */
async function startRegistry(
  intercept: Handler = () => false,
): Promise<{ host: string; requests: string[]; layer: Buffer } & AsyncDisposable> {
  const blobs = new Map<string, { type: string; bytes: Buffer }>()
  const put = (type: string, value: unknown): { mediaType: string; digest: string; size: number } => {
    const bytes = Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value))
    blobs.set(digestOf(bytes), { type, bytes })
    return { mediaType: type, digest: digestOf(bytes), size: bytes.byteLength }
  }
  const layer = Buffer.alloc(100_000, 'layer')
  const manifests = ['amd64', 'arm64'].map((architecture) => ({
    ...put(mediaTypes.manifest, {
      schemaVersion: 2,
      config: put(mediaTypes.config, { os: 'linux', architecture, rootfs: { type: 'layers', diff_ids: [] } }),
      layers: [put(mediaTypes.layerGzip, layer)],
    }),
    platform: { os: 'linux', architecture },
  }))
  const index = put(mediaTypes.index, { schemaVersion: 2, manifests })
  const requests: string[] = []
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    requests.push(path)
    if (intercept(request, response, path) === true) return
    const target = /^\/v2\/team\/app\/(?:manifests|blobs)\/(.+)$/.exec(path)?.[1] ?? ''
    const found = blobs.get(target === '1.0' ? index.digest : target)
    if (path === '/v2/') response.end('{}')
    else if (!found) response.writeHead(404).end('{}')
    else response.writeHead(200, { 'content-type': found.type }).end(found.bytes)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { host, requests, layer, [Symbol.asyncDispose]: close }
}

async function pull(host: string, options: RegistryClientOptions = {}, reference = 'team/app:1.0'): Promise<string[]> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-registry-'))
  try {
    const layout = await openLayout(dir)
    const client = createRegistryClient({ retryDelayMs: 1, ...options })
    const pulled = await pullImage(`${host}/${reference}`, { layout, platform: 'linux/arm64', client })
    assert.equal(pulled.config.architecture, 'arm64')
    assert.match(pulled.pinned, /team\/app@sha256:/)
    return (await layout.list()).map((entry) => entry.reference)
  } finally {
    await rm(dir, { recursive: true })
  }
}

describe('pullImage', () => {
  it('pulls the image for the platform and tags it', async () => {
    await using registry = await startRegistry()
    assert.deepEqual(await pull(registry.host), [`${registry.host}/team/app:1.0`])
  })

  it('gets a token for the repository when asked for one', async () => {
    const asked: string[] = []
    await using registry = await startRegistry((request, response, path) => {
      if (path.startsWith('/token')) {
        asked.push(`${request.headers.authorization} ${new URL(path, 'http://x').searchParams.get('scope')}`)
        response.end(JSON.stringify({ token: 'abc' }))
        return true
      }
      if (request.headers.authorization === 'Bearer abc') return false
      const realm = `http://${request.headers.host}/token`
      response.writeHead(401, {
        'www-authenticate': `Bearer realm="${realm}",service="reg",scope="repository:team/app:pull"`,
      })
      response.end()
      return true
    })
    await pull(registry.host, { credentials: () => ({ username: 'ada', password: 'pw' }) })
    assert.deepEqual(asked, [`Basic ${Buffer.from('ada:pw').toString('base64')} repository:team/app:pull`])
  })

  it('logs in with name and password when asked to, and says when it is denied', async () => {
    await using registry = await startRegistry((request, response) => {
      if (request.headers.authorization === `Basic ${Buffer.from('ada:pw').toString('base64')}`) return false
      response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
      return true
    })
    await pull(registry.host, { credentials: () => ({ username: 'ada', password: 'pw' }) })
    await assert.rejects(pull(registry.host), { code: 'FAIRLEAD_OCI_REGISTRY_DENIED' })
    const wrong = { credentials: () => ({ username: 'ada', password: 'no' }) }
    await assert.rejects(pull(registry.host, wrong), { code: 'FAIRLEAD_OCI_REGISTRY_DENIED' })
  })

  it('says when the registry does not have the image', async () => {
    await using registry = await startRegistry()
    await assert.rejects(pull(registry.host, {}, 'team/app:2.0'), { code: 'FAIRLEAD_OCI_REGISTRY_NOT_FOUND' })
  })

  it('tries again after a passing failure, and gives up after some', async () => {
    let failures = 2
    await using registry = await startRegistry((request, response) => {
      if (failures <= 0) return false
      failures -= 1
      response.writeHead(503).end()
      return true
    })
    await pull(registry.host)
    failures = 100
    await assert.rejects(pull(registry.host, { retries: 2 }), {
      code: 'FAIRLEAD_OCI_REGISTRY_UNREACHABLE',
      message: /503/,
    })
  })

  it('fetches a blob again that broke off or came damaged', async () => {
    let failures = 2
    // The layer alone: the config comes at the same time, and what is too large for it is no damage.
    const layer = digestOf(Buffer.alloc(100_000, 'layer'))
    await using registry = await startRegistry((_request, response, path) => {
      if (!path.endsWith(layer) || failures <= 0) return false
      failures -= 1
      if (failures === 1) response.writeHead(200, { 'content-length': 100_000 }).write('half', () => response.destroy())
      else response.writeHead(200).end(Buffer.alloc(100_000, 'other'))
      return true
    })
    await pull(registry.host)
    assert.equal(failures, 0)
  })

  it('does not take more than was announced', async () => {
    await using registry = await startRegistry((_request, response, path) => {
      if (!path.includes('/blobs/')) return false
      response.writeHead(200).end(Buffer.alloc(1_000_000))
      return true
    })
    await assert.rejects(pull(registry.host), { code: 'FAIRLEAD_OCI_REGISTRY_ANSWER', message: /larger than/ })
  })

  it('gives up on a registry that goes silent', async () => {
    await using registry = await startRegistry((_request, _response, path) => path.includes('/blobs/'))
    const silent = pull(registry.host, { timeoutMs: 30, retries: 1 })
    await assert.rejects(silent, { code: 'FAIRLEAD_OCI_REGISTRY_UNREACHABLE' })
  })

  it('does not send credentials on to another host', async () => {
    let leaked: string | undefined
    await using other = await startRegistry((request, response) => {
      leaked = request.headers.authorization
      response.writeHead(404).end()
      return true
    })
    await using registry = await startRegistry((request, response) => {
      if (!request.headers.authorization) response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end()
      else response.writeHead(307, { location: `http://${other.host.replace('127.0.0.1', 'localhost')}/x` }).end()
      return true
    })
    const denied = pull(registry.host, { credentials: () => ({ username: 'ada', password: 'pw' }) })
    await assert.rejects(denied)
    assert.equal(leaked, undefined)
  })
})

describe('isReachable', () => {
  it('tells a registry from nothing within the time given', async () => {
    await using registry = await startRegistry()
    const client = createRegistryClient()
    assert.equal(await client.isReachable(registry.host, { timeoutMs: 1000 }), true)
    assert.equal(await client.isReachable('127.0.0.1:1', { timeoutMs: 1000 }), false)
    await using silent = await startRegistry(() => true)
    assert.equal(await client.isReachable(silent.host, { timeoutMs: 20 }), false)
  })
})

describe('parseChallenge', () => {
  it('reads quoted values with commas in them', () => {
    assert.deepEqual(parseChallenge('Bearer realm="https://a/t",service="s",scope="repository:a:pull,push"'), {
      scheme: 'bearer',
      realm: 'https://a/t',
      service: 's',
      scope: 'repository:a:pull,push',
    })
  })

  it('passes over schemes it does not know', () => {
    assert.equal(parseChallenge('Negotiate'), undefined)
    assert.equal(parseChallenge('Negotiate abc, Basic realm="x"')?.scheme, 'basic')
  })
})
