import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { digestOf } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'
import { mediaTypes } from '../../spec/media-types.ts'
import { serveRegistry } from './server.ts'
import type { ServedRegistry, ServeOptions } from './server.ts'

/** A registry in a folder of its own, and short words for what its tests say over HTTP. */
export interface TestRegistry extends AsyncDisposable {
  registry: ServedRegistry
  dir: string
  send(
    method: string,
    path: string,
    options?: { headers?: Record<string, string>; body?: string | Buffer },
  ): Promise<Answer>
  /** Pushes a blob in one request. */
  pushBlob(repository: string, content: string | Buffer, algorithm?: 'sha256' | 'sha512'): Promise<Digest>
  putManifest(repository: string, target: string, manifest: object | Buffer, mediaType?: string): Promise<Answer>
  /** Pushes an image with one layer and answers what to find it by. */
  pushImage(
    repository: string,
    target: string,
    content: string,
  ): Promise<{ digest: Digest; layer: Digest; manifest: object }>
}

export interface Answer {
  status: number
  headers: Headers
  text: string
  bytes: Buffer
  json: () => Record<string, unknown> & {
    errors: [{ code: string; message: string; detail?: Record<string, unknown> }]
  }
}

export async function startTestRegistry(options: Partial<ServeOptions> = {}): Promise<TestRegistry> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'fairlead-registry-')))
  const registry = await serveRegistry({ collect: { everyMs: 0 }, ...options, dir })
  const send: TestRegistry['send'] = (method, path, { headers = {}, body } = {}) =>
    sendTo(registry.url, method, path, { headers, body })
  const pushBlob: TestRegistry['pushBlob'] = async (repository, content, algorithm = 'sha256') => {
    const digest = digestWith(algorithm, content)
    const answer = await send('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, { body: content })
    if (answer.status !== 201) throw new Error(`push of a blob was answered ${answer.status} ${answer.text}`)
    return digest
  }
  const putManifest: TestRegistry['putManifest'] = (repository, target, manifest, mediaType = mediaTypes.manifest) =>
    send('PUT', `/v2/${repository}/manifests/${target}`, {
      headers: { 'content-type': mediaType },
      body: Buffer.isBuffer(manifest) ? manifest : JSON.stringify(manifest),
    })
  return {
    registry,
    dir,
    send,
    pushBlob,
    putManifest,
    async pushImage(repository, target, content) {
      const layer = await pushBlob(repository, content)
      const config = JSON.stringify({
        os: 'linux',
        architecture: 'amd64',
        rootfs: { type: 'layers', diff_ids: [layer] },
      })
      const manifest = imageOf(config, await pushBlob(repository, config), content, layer)
      const answer = await putManifest(repository, target, manifest)
      if (answer.status !== 201) throw new Error(`push of an image was answered ${answer.status} ${answer.text}`)
      return { digest: digestOf(JSON.stringify(manifest)), layer, manifest }
    },
    async [Symbol.asyncDispose]() {
      await registry.close()
      if (options.dir === undefined) await rm(dir, { recursive: true, force: true })
    },
  }
}

export async function sendTo(
  origin: string,
  method: string,
  path: string,
  { headers = {}, body }: { headers?: Record<string, string>; body?: string | Buffer | undefined } = {},
): Promise<Answer> {
  const response = await fetch(new URL(path, origin), {
    method,
    headers,
    redirect: 'manual',
    ...(body === undefined ? {} : { body: Buffer.isBuffer(body) ? new Uint8Array(body) : body }),
  })
  const bytes = Buffer.from(await response.arrayBuffer())
  const text = bytes.toString()
  return { status: response.status, headers: response.headers, text, bytes, json: () => JSON.parse(text) as never }
}

function imageOf(config: string, configDigest: Digest, layer: string, layerDigest: Digest): object {
  return {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, digest: configDigest, size: config.length },
    layers: [{ mediaType: mediaTypes.layer, digest: layerDigest, size: layer.length }],
  }
}

export function digestWith(algorithm: 'sha256' | 'sha512', content: string | Buffer): Digest {
  return `${algorithm}:${createHash(algorithm).update(content).digest('hex')}`
}

export function describeJson(value: object, mediaType: string): { mediaType: string; digest: Digest; size: number } {
  const text = JSON.stringify(value)
  return { mediaType, digest: digestOf(text), size: text.length }
}
