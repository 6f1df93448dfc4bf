// Registries for the tests of the client: one in memory that misbehaves when told, Debian's docker-registry, and images to move.
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Layout } from '../layout/layout.ts'
import { digestOf } from '../spec/digest.ts'
import type { Descriptor } from '../spec/image.ts'
import { mediaTypes } from '../spec/media-types.ts'
import { createRegistryClient } from './client.ts'

/** Answers a request in place of the registry and says so by `true`. */
export type Intercept = (request: IncomingMessage, response: ServerResponse, path: string) => unknown

export interface ScriptedRegistry extends AsyncDisposable {
  host: string
  /** `METHOD path` of every request. */
  requests: string[]
  /** By `repository digest`. */
  blobs: Map<string, Buffer>
  /** By `repository tag-or-digest`. */
  manifests: Map<string, { type: string; bytes: Buffer }>
  uploads: Map<string, Buffer>
  /** May be changed at any time. */
  intercept: Intercept
  /** How many uploads are to be cut off after a million bytes. */
  cuts: number
  /** Whether it knows the referrers interface. */
  hasReferrers: boolean
  /** Whether it gives and honours entity tags. */
  hasEtags: boolean
}

/** A registry in memory. */
export async function startScriptedRegistry(intercept: Intercept = () => false): Promise<ScriptedRegistry> {
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    registry.requests.push(`${request.method} ${path}`)
    request.on('error', () => {})
    void (async () => {
      if ((await registry.intercept(request, response, path)) !== true) await answer(registry, request, response)
    })()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const registry: ScriptedRegistry = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    blobs: new Map(),
    manifests: new Map(),
    uploads: new Map(),
    intercept,
    cuts: 0,
    hasReferrers: false,
    hasEtags: false,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  return registry
}

async function answer(registry: ScriptedRegistry, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '', 'http://registry')
  if (url.pathname === '/v2/') return void response.end('{}')
  const [, repository = '', kind = '', rest = ''] =
    /^\/v2\/(.+?)\/(blobs\/uploads|blobs|manifests|referrers|tags)\/(.*)$/.exec(url.pathname) ?? []
  const end = (status: number, headers: Record<string, string> = {}, body: Buffer | string = ''): void =>
    void response.writeHead(status, headers).end(request.method === 'HEAD' ? undefined : body)
  if (kind === 'blobs') {
    const bytes = registry.blobs.get(`${repository} ${rest}`)
    if (!bytes) return end(404, {}, '{}')
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
    if (from === 0) return end(200, { 'content-length': String(bytes.byteLength) }, bytes)
    const range = `bytes ${from}-${bytes.byteLength - 1}/${bytes.byteLength}`
    return end(206, { 'content-range': range }, bytes.subarray(from))
  }
  if (kind === 'blobs/uploads') return upload(registry, request, response, { repository, rest, url })
  if (kind === 'tags') {
    const names = [...registry.manifests.keys()].map((key) => key.split(' '))
    const tags = names.filter(([name, tag]) => name === repository && !tag?.includes(':')).map(([, tag]) => tag)
    return end(200, { 'content-type': 'application/json' }, JSON.stringify({ name: repository, tags }))
  }
  if (kind === 'referrers') {
    if (!registry.hasReferrers) return end(404, {}, '{}')
    const manifests = [...registry.manifests].filter(([key, { bytes }]) => {
      const value = JSON.parse(bytes.toString()) as { subject?: { digest: string } }
      return key.startsWith(`${repository} sha256:`) && value.subject?.digest === rest
    })
    const list = manifests.map(([key, { type, bytes }]) => ({
      mediaType: type,
      digest: key.split(' ')[1],
      size: bytes.byteLength,
      artifactType: (JSON.parse(bytes.toString()) as { artifactType?: string }).artifactType,
    }))
    const body = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: list })
    return end(200, { 'content-type': mediaTypes.index }, body)
  }
  if (kind !== 'manifests') return end(404)
  const key = `${repository} ${rest}`
  const known = registry.manifests.get(key)
  const etag = known && `"${digestOf(known.bytes)}"`
  if (request.method === 'DELETE') return end(registry.manifests.delete(key) ? 202 : 404)
  if (request.method !== 'PUT') {
    if (!known) return end(404, {}, '{}')
    const headers = { 'content-type': known.type, 'content-length': String(known.bytes.byteLength) }
    const digest = { 'docker-content-digest': digestOf(known.bytes) }
    return end(200, { ...headers, ...digest, ...(registry.hasEtags && etag ? { etag } : {}) }, known.bytes)
  }
  const bytes = await readBody(request)
  const now = `"${digestOf(registry.manifests.get(key)?.bytes ?? '')}"`
  if (registry.hasEtags && request.headers['if-match'] && request.headers['if-match'] !== now) return end(412)
  const type = request.headers['content-type'] ?? ''
  registry.manifests.set(key, { type, bytes })
  registry.manifests.set(`${repository} ${digestOf(bytes)}`, { type, bytes })
  const subject = (JSON.parse(bytes.toString()) as { subject?: { digest: string } }).subject?.digest
  end(201, {
    'docker-content-digest': digestOf(bytes),
    ...(registry.hasReferrers && subject ? { 'oci-subject': subject } : {}),
  })
}

async function upload(
  registry: ScriptedRegistry,
  request: IncomingMessage,
  response: ServerResponse,
  { repository, rest, url }: { repository: string; rest: string; url: URL },
): Promise<void> {
  const { blobs, uploads } = registry
  const end = (status: number, id: string, headers: Record<string, string> = {}): void => {
    const size = uploads.get(id)?.byteLength ?? 0
    const range = { range: `0-${Math.max(0, size - 1)}` }
    const location = `/v2/${repository}/blobs/uploads/${id}?state=${size}`
    response.writeHead(status, { location, ...range, ...headers }).end()
  }
  if (request.method === 'POST') {
    const mounted = blobs.get(`${url.searchParams.get('from')} ${url.searchParams.get('mount')}`)
    if (mounted) blobs.set(`${repository} ${url.searchParams.get('mount')}`, mounted)
    const id = randomBytes(8).toString('hex')
    if (!mounted) uploads.set(id, Buffer.alloc(0))
    return end(mounted ? 201 : 202, id)
  }
  const before = uploads.get(rest)
  if (!before) return void response.writeHead(404).end()
  if (request.method === 'GET') return end(204, rest)
  if (request.method === 'DELETE') {
    uploads.delete(rest)
    return void response.writeHead(204).end()
  }
  const start = /^(\d+)-/.exec(request.headers['content-range'] ?? '')?.[1]
  if (start !== undefined && Number(start) !== before.byteLength) return end(416, rest)
  // What arrives stays, as it does in real registries.
  const chunks = [before]
  try {
    let size = 0
    for await (const chunk of request as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      size += chunk.byteLength
      if (registry.cuts === 0 || size < 1_000_000) continue
      registry.cuts -= 1
      request.socket.destroy()
      return
    }
  } catch {
    return
  } finally {
    if (uploads.has(rest)) uploads.set(rest, Buffer.concat(chunks))
  }
  if (request.method === 'PATCH') return end(202, rest)
  const bytes = uploads.get(rest) ?? Buffer.alloc(0)
  const wanted = url.searchParams.get('digest') ?? ''
  const [algorithm = ''] = wanted.split(':')
  const actual = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
  if (actual !== wanted) {
    return void response.writeHead(400).end('{"errors":[{"code":"DIGEST_INVALID","message":"wrong digest"}]}')
  }
  uploads.delete(rest)
  blobs.set(`${repository} ${wanted}`, bytes)
  response.writeHead(201, { location: `/v2/${repository}/blobs/${wanted}`, 'docker-content-digest': wanted }).end()
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** An image of layers with content that does not compress, tagged; the layers' text decides their digests. */
export async function addImage(
  layout: Layout,
  reference: string,
  layers: readonly Buffer[],
  options: { architecture?: string; annotations?: Record<string, string> } = {},
): Promise<Descriptor> {
  const { architecture = 'amd64', annotations } = options
  const stored = await Promise.all(layers.map((layer) => layout.writeBlob(layer)))
  const rootfs = { type: 'layers', diff_ids: stored.map(({ digest }) => digest) }
  const descriptor = await layout.writeJson(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: await layout.writeJson(mediaTypes.config, { os: 'linux', architecture, rootfs }),
    layers: stored.map((layer) => ({ mediaType: mediaTypes.layer, ...layer })),
    annotations,
  })
  await layout.tag(reference, descriptor)
  return descriptor
}

/** An index of an image for two platforms that share all layers but one. */
export async function addIndex(layout: Layout, reference: string, shared: Buffer): Promise<Descriptor> {
  const manifests = []
  for (const architecture of ['amd64', 'arm64']) {
    const layers = [shared, Buffer.from(`only ${architecture}`)]
    const image = await addImage(layout, `localhost/part:${architecture}`, layers, { architecture })
    manifests.push({ ...image, platform: { os: 'linux', architecture } })
  }
  const index = await layout.writeJson(mediaTypes.index, { schemaVersion: 2, mediaType: mediaTypes.index, manifests })
  await layout.tag(reference, index)
  return index
}

/** A manifest that refers to another, with a layer of its own, attached in the layout. */
export async function addReferrer(layout: Layout, subject: Descriptor, artifactType: string): Promise<Descriptor> {
  const layer = await layout.writeBlob(Buffer.from(`about ${subject.digest}: ${artifactType}`))
  const { mediaType, digest, size } = subject
  const descriptor = await layout.writeJson(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType,
    config: await layout.writeJson(mediaTypes.empty, {}),
    layers: [{ mediaType: 'text/plain', ...layer }],
    subject: { mediaType, digest, size },
  })
  await layout.attach(descriptor)
  return descriptor
}

/** A free port of this machine. */
async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

export interface DockerRegistry extends AsyncDisposable {
  host: string
}

/** Debian's docker-registry with its storage in `dir`; `auth` is the part of its configuration. */
export async function startDockerRegistry(dir: string, auth = ''): Promise<DockerRegistry> {
  const host = `127.0.0.1:${await freePort()}`
  const config = `version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: ${JSON.stringify(join(dir, 'storage'))} }, delete: { enabled: true } }
http: { addr: ${JSON.stringify(host)} }
${auth}
`
  await writeFile(join(dir, 'config.yml'), config)
  const child = spawn('docker-registry', ['serve', join(dir, 'config.yml')], { stdio: 'ignore' })
  const client = createRegistryClient()
  const deadline = Date.now() + 60_000
  while (!(await client.isReachable(host, { timeoutMs: 1000 }))) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error('docker-registry did not start')
    await sleep(20)
  }
  return {
    host,
    async [Symbol.asyncDispose]() {
      child.kill()
      if (child.exitCode === null) await once(child, 'close')
    },
  }
}
