import { randomUUID } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { digestMismatch, registrySetting } from '../../errors.ts'
import { currentProcess } from '../../layout/process-identity.ts'
import { createDigester, splitDigest } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'
import type { Descriptor } from '../../spec/image.ts'
import type { Reference } from '../../spec/reference.ts'
import type { RegistryClient } from '../client.ts'
import { RegistryRefusal } from './protocol.ts'
import type { RegistryStore, StoredManifest } from './store.ts'

/** Another registry whose repositories are served here, fetched when they are first asked for. */
export interface Upstream {
  /** First part of the repository names here: `docker-hub` serves `library/node` as `docker-hub/library/node`. `''`: all. */
  prefix: string
  /** Host of the other registry, such as `docker.io`. */
  registry: string
  /** In front of the names there; default: nothing. */
  repositoryPrefix?: string | undefined
  /** How long a tag is taken to mean the same; default 5 minutes. Digests mean the same forever. */
  tagTtlMs?: number | undefined
}

/** What a pull-through cache found; `isStale` when the other registry could not be asked. */
export interface CachedManifest {
  manifest: StoredManifest
  isStale: boolean
}

const DEFAULT_TTL_MS = 5 * 60_000

/** The part of the client a cache needs. */
export type UpstreamClient = Pick<RegistryClient, 'manifest' | 'blob'>

/**
 * Serves other registries: manifests and blobs are stored as they are asked for, in the same store as everything else. While
 * the other registry cannot be reached, what is here is served; tags are then told to be old.
 */
export class PullThrough {
  readonly #store: RegistryStore
  readonly #client: UpstreamClient
  readonly #upstreams: readonly Upstream[]
  readonly #clock: () => number
  readonly #checked = new Map<string, number>()
  readonly #manifests = new Map<string, Promise<CachedManifest | undefined>>()
  readonly #downloads = new Map<Digest, Download>()

  constructor(
    store: RegistryStore,
    upstreams: readonly Upstream[],
    client: UpstreamClient,
    clock: () => number = Date.now,
  ) {
    for (const { prefix } of upstreams) {
      const isTwice = upstreams.filter((other) => other.prefix === prefix).length > 1
      if (isTwice) throw registrySetting(`upstream "${prefix}"`, 'two upstreams have the same prefix')
    }
    this.#store = store
    this.#client = client
    // The longest prefix decides.
    this.#upstreams = upstreams.toSorted((a, b) => b.prefix.length - a.prefix.length)
    this.#clock = clock
  }

  /** Whether the repository is one of another registry; such a one cannot be pushed to. */
  isUpstream(repository: string): boolean {
    return this.#referenceOf(repository) !== undefined
  }

  /** The manifest, from here or from there. `undefined` when neither has it. */
  manifest(repository: string, target: { tag: string } | { digest: Digest }): Promise<CachedManifest | undefined> {
    const key = `${repository} ${'tag' in target ? target.tag : target.digest}`
    const running = this.#manifests.get(key)
    if (running) return running
    const started = this.#manifest(key, repository, target).finally(() => this.#manifests.delete(key))
    this.#manifests.set(key, started)
    return started
  }

  async #manifest(
    key: string,
    repository: string,
    target: { tag: string } | { digest: Digest },
  ): Promise<CachedManifest | undefined> {
    const known = this.#store.findManifest(repository, target)
    const place = this.#referenceOf(repository)
    if (!place) return known && { manifest: known, isStale: false }
    const checkedAt = this.#checked.get(key)
    const ttlMs = place.upstream.tagTtlMs ?? DEFAULT_TTL_MS
    const isFresh = 'digest' in target || (checkedAt !== undefined && this.#clock() - checkedAt < ttlMs)
    if (known && isFresh) return { manifest: known, isStale: false }
    try {
      const { descriptor, bytes } = await this.#client.manifest({ ...place.reference, ...target })
      const { mediaType, digest } = descriptor
      const tags = 'tag' in target ? [target.tag] : []
      await this.#store.putManifest(repository, {
        mediaType,
        bytes,
        digest,
        tags,
        missingContent: 'accept',
        isCached: true,
      })
      this.#remember(key)
      return { manifest: { mediaType, digest, size: bytes.byteLength }, isStale: false }
    } catch (error) {
      if (codeOf(error) === 'FAIRLEAD_OCI_REGISTRY_NOT_FOUND') return undefined
      if (known) return { manifest: known, isStale: true }
      throw unavailable(place.reference.registry, error)
    }
  }

  #remember(key: string): void {
    if (this.#checked.size >= MAX_REMEMBERED) this.#checked.clear()
    this.#checked.set(key, this.#clock())
  }

  /**
   * The blob as it arrives from the other registry; it is stored on the way, once for all who ask at the same time.
   * `undefined` when no manifest that was pulled from here points at it.
   */
  async blob(
    repository: string,
    digest: Digest,
  ): Promise<{ descriptor: Descriptor; content: AsyncIterable<Uint8Array> } | undefined> {
    const place = this.#referenceOf(repository)
    const descriptor = place && this.#store.describeBlob(repository, digest)
    if (!place || !descriptor) return undefined
    let download = this.#downloads.get(digest)
    if (!download) {
      download = new Download(this.#store, descriptor)
      this.#downloads.set(digest, download)
      const source = this.#client.blob({ ...place.reference, digest }, descriptor)
      void download.run(source).finally(() => this.#downloads.delete(digest))
    }
    const running = download
    await running.begun.catch((error: unknown) => {
      if (codeOf(error) === 'FAIRLEAD_OCI_REGISTRY_NOT_FOUND') return
      throw unavailable(place.reference.registry, error)
    })
    if (running.isAbsent) return undefined
    return { descriptor, content: running.read(() => this.#store.linkBlob(repository, digest)) }
  }

  #referenceOf(repository: string): { upstream: Upstream; reference: Reference } | undefined {
    const upstream = this.#upstreams.find(({ prefix }) => prefix === '' || repository.startsWith(`${prefix}/`))
    if (!upstream) return undefined
    const rest = upstream.prefix === '' ? repository : repository.slice(upstream.prefix.length + 1)
    const base = upstream.repositoryPrefix ? `${upstream.repositoryPrefix}/` : ''
    const isHubName = upstream.registry === 'docker.io' && !`${base}${rest}`.includes('/')
    return {
      upstream,
      reference: { registry: upstream.registry, repository: `${isHubName ? 'library/' : ''}${base}${rest}` },
    }
  }
}

const MAX_REMEMBERED = 10_000

/** A blob on its way to the disk; readers follow the growing file. */
class Download {
  /** Resolves with the first bytes, rejects when there are none. */
  readonly begun: Promise<void>
  isAbsent = false
  readonly #store: RegistryStore
  readonly #descriptor: Descriptor
  readonly #path: string
  readonly #begun = Promise.withResolvers<void>()
  #received = 0
  #state: { isDone: boolean; error?: unknown } = { isDone: false }
  #more = Promise.withResolvers<void>()

  constructor(store: RegistryStore, descriptor: Descriptor) {
    this.#store = store
    this.#descriptor = descriptor
    this.#path = join(store.dir, '.ingest', `${encodeURIComponent(currentProcess())}.${randomUUID()}`)
    this.begun = this.#begun.promise
    this.begun.catch(() => {})
  }

  async run(source: AsyncIterable<Uint8Array>): Promise<void> {
    const { digest } = this.#descriptor
    try {
      await mkdir(dirname(this.#path), { recursive: true })
      const file = await open(this.#path, 'wx')
      try {
        const digester = createDigester(splitDigest(digest).algorithm)
        for await (const chunk of source) {
          await writeFully(file, chunk)
          digester.update(chunk)
          this.#received += chunk.byteLength
          this.#begun.resolve()
          this.#wake()
        }
        if (digester.digest() !== digest) throw digestMismatch(digest, digester.digest())
        await file.datasync()
      } finally {
        await file.close()
      }
      const target = this.#store.layout.blobPath(digest)
      await mkdir(dirname(target), { recursive: true })
      await rename(this.#path, target)
      this.#state = { isDone: true }
      this.#begun.resolve()
    } catch (error) {
      this.isAbsent = codeOf(error) === 'FAIRLEAD_OCI_REGISTRY_NOT_FOUND'
      this.#state = { isDone: true, error }
      this.#begun.reject(error)
      await rm(this.#path, { force: true })
    }
    this.#wake()
  }

  #wake(): void {
    this.#more.resolve()
    this.#more = Promise.withResolvers<void>()
  }

  /** From the first byte; the last ones come only after the digest was found right and `placed` has run. */
  async *read(placed: () => Promise<unknown>): AsyncGenerator<Uint8Array> {
    const file = await open(this.#path, 'r').catch(() =>
      open(this.#store.layout.blobPath(this.#descriptor.digest), 'r'),
    )
    try {
      let position = 0
      for (;;) {
        const { isDone, error } = this.#state
        if (error !== undefined) throw error
        // The last chunk is held back: a client that gets all bytes takes the blob for good.
        const readable = isDone ? this.#descriptor.size : Math.min(this.#received, this.#descriptor.size - 1)
        if (position < readable) {
          const buffer = Buffer.allocUnsafe(Math.min(readable - position, 1 << 18))
          const { bytesRead } = await file.read(buffer, 0, buffer.byteLength, position)
          if (bytesRead === 0) throw new Error('The stored blob is shorter than described')
          position += bytesRead
          if (position === this.#descriptor.size) await placed()
          yield buffer.subarray(0, bytesRead)
        } else if (isDone) {
          if (this.#descriptor.size === 0) await placed()
          return
        } else {
          await this.#more.promise
        }
      }
    } finally {
      await file.close()
    }
  }
}

function unavailable(registry: string, cause: unknown): RegistryRefusal {
  return new RegistryRefusal(503, 'UNAVAILABLE', `registry "${registry}" cannot be asked and this is not cached`, {
    cause,
    headers: { 'retry-after': '10' },
  })
}

async function writeFully(file: FileHandle, chunk: Uint8Array): Promise<void> {
  let written = 0
  while (written < chunk.byteLength) written += (await file.write(chunk, written)).bytesWritten
}

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? ''
}
