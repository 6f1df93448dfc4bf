import { readFileSync, statSync } from 'node:fs'

import type { Layout } from '../../layout/layout.ts'
import { referrerOf } from '../../layout/referrer.ts'
import { createDigester, splitDigest } from '../../spec/digest.ts'
import type { Digest } from '../../spec/digest.ts'
import type { Descriptor } from '../../spec/image.ts'
import { isIndexType, isManifestType } from '../../spec/media-types.ts'
import { parseManifest } from './manifest.ts'
import type { ManifestLinks } from './manifest.ts'
import { RegistryRefusal } from './protocol.ts'

/** A manifest that refers to another one. */
export interface Referrer {
  subject: Digest
  /** As the referrers API describes it. */
  descriptor: Descriptor
}

const MAX_CACHED_BYTES = 32 << 20
const MAX_CLOSURE = 100_000

/** The manifests of a layout, with what they point at; those asked for last are kept in memory. */
export class ManifestCache {
  readonly #layout: Layout
  readonly #loaded = new Map<string, { bytes: Buffer; links?: ManifestLinks }>()
  #loadedBytes = 0
  readonly #referrers = new Map<Digest, Referrer | null>()

  constructor(layout: Layout) {
    this.#layout = layout
  }

  /** The bytes, as they were pushed; checked against the digest when they are read from the disk. */
  bytes(digest: Digest): Buffer | undefined {
    return this.#load(digest)?.bytes
  }

  /** What a manifest points at; `undefined` when it is not there or is none. */
  links(mediaType: string, digest: Digest): ManifestLinks | undefined {
    const loaded = this.#load(digest)
    if (!loaded) return undefined
    if (!loaded.links) {
      try {
        loaded.links = parseManifest(mediaType, loaded.bytes)
      } catch (error) {
        if (error instanceof RegistryRefusal) return undefined
        throw error
      }
    }
    return loaded.links
  }

  /** What the manifest refers to; `undefined` when it refers to nothing or is not there. */
  referrer(mediaType: string, digest: Digest): Referrer | undefined {
    const known = this.#referrers.get(digest)
    if (known !== undefined) return known ?? undefined
    const bytes = this.bytes(digest)
    if (!bytes) return undefined
    const isOne = this.links(mediaType, digest)?.subject !== undefined
    const referrer = isOne ? referrerOf(mediaType, digest, bytes) : undefined
    if (this.#referrers.size >= MAX_CLOSURE) this.#referrers.clear()
    this.#referrers.set(digest, referrer ?? null)
    return referrer
  }

  /** The manifest with everything below it, as far as it is there. */
  closure(root: Descriptor): Descriptor[] {
    const found = new Map<Digest, Descriptor>()
    const waiting = [root]
    for (let next = waiting.pop(); next && found.size < MAX_CLOSURE; next = waiting.pop()) {
      if (found.has(next.digest)) continue
      found.set(next.digest, next)
      if (!isKept(next)) continue
      const links = this.links(next.mediaType, next.digest)
      waiting.push(...(links?.manifests ?? []), ...(links?.blobs ?? []))
    }
    return [...found.values()]
  }

  #load(digest: Digest): { bytes: Buffer; links?: ManifestLinks } | undefined {
    const known = this.#loaded.get(digest)
    if (known) {
      // Moved to the end, so that the front is what was not asked for longest.
      this.#loaded.delete(digest)
      this.#loaded.set(digest, known)
      return known
    }
    const bytes = readManifest(this.#layout.blobPath(digest), digest)
    if (!bytes) return undefined
    const loaded = { bytes }
    this.#loaded.set(digest, loaded)
    this.#loadedBytes += bytes.byteLength
    for (const [oldest, { bytes: dropped }] of this.#loaded) {
      if (this.#loadedBytes <= MAX_CACHED_BYTES) break
      this.#loaded.delete(oldest)
      this.#loadedBytes -= dropped.byteLength
    }
    return loaded
  }
}

/** Whether something is a manifest or an index, and no blob. */
export function isKept({ mediaType }: { mediaType: string }): boolean {
  return isManifestType(mediaType) || isIndexType(mediaType)
}

function readManifest(path: string, digest: Digest): Buffer | undefined {
  const size = statSync(path, { throwIfNoEntry: false })?.size
  if (size === undefined || size > 2 * MAX_CACHED_BYTES) return undefined
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch {
    return undefined
  }
  const digester = createDigester(splitDigest(digest).algorithm)
  digester.update(bytes)
  // A damaged manifest is as good as none: fsck tells of it.
  return digester.digest() === digest ? bytes : undefined
}
