import { statSync } from 'node:fs'

import type { Layout } from '../../layout/layout.ts'
import type { Digest } from '../../spec/digest.ts'
import type { Descriptor } from '../../spec/image.ts'
import type { Links } from './links.ts'
import { isKept } from './manifest-cache.ts'
import type { ManifestCache } from './manifest-cache.ts'
import type { StoredManifest } from './store.ts'
import type { Tags } from './tags.ts'

/** The parts of a store. */
export interface StoreParts {
  readonly layout: Layout
  readonly manifests: ManifestCache
  readonly tags: Tags
  readonly links: Links
}

/** What is known of an image or artifact of a repository; times are ISO 8601. */
export interface StoredImage extends StoredManifest {
  tags: readonly string[]
  /** When it was pushed; for what was built into the store on this machine, when it was written. */
  pushedAt: string
  lastPulledAt?: string | undefined
  /** Bytes of config and layers as stored; for an index, of its children. */
  contentBytes: number
  artifactType?: string | undefined
  subject?: Digest | undefined
  /** An index of the same repository points at it. */
  isChild: boolean
}

/** Every image and artifact of the repository, newest first: what policies decide about. */
export function listImages({ layout, manifests, tags, links }: StoreParts, repository: string): StoredImage[] {
  const tagsOf = new Map<Digest, string[]>()
  const members = new Map<Digest, Descriptor>()
  for (const [tag, entry] of tags.read().tags.get(repository) ?? []) {
    tagsOf.set(entry.digest, [...(tagsOf.get(entry.digest) ?? []), tag])
    for (const descriptor of manifests.closure(entry))
      if (isKept(descriptor)) members.set(descriptor.digest, descriptor)
  }
  for (const digest of links.manifests(repository)) {
    const link = links.manifest(repository, digest)
    if (link) members.set(digest, { mediaType: link.mediaType, digest, size: link.size })
  }
  for (const digest of members.keys()) {
    for (const descriptor of tags.read().attached.get(digest) ?? []) members.set(descriptor.digest, descriptor)
  }
  const children = new Set<Digest>()
  for (const { mediaType, digest } of members.values()) {
    for (const child of manifests.links(mediaType, digest)?.manifests ?? []) children.add(child.digest)
  }
  const parts = { layout, manifests, tags, links }
  const images = [...members.values()].flatMap((descriptor) =>
    describe(parts, repository, descriptor, tagsOf, children),
  )
  return images.toSorted((a, b) =>
    a.pushedAt === b.pushedAt ? (a.digest < b.digest ? -1 : 1) : a.pushedAt < b.pushedAt ? 1 : -1,
  )
}

function describe(
  { layout, manifests, links }: StoreParts,
  repository: string,
  { mediaType, digest }: Descriptor,
  tagsOf: ReadonlyMap<Digest, string[]>,
  children: ReadonlySet<Digest>,
): StoredImage[] {
  const found = statSync(layout.blobPath(digest), { throwIfNoEntry: false })
  if (!found) return []
  const link = links.manifest(repository, digest)
  const pulled = links.lastPulled(repository, digest)
  const referrer = manifests.referrer(mediaType, digest)
  const blobs = manifests.closure({ mediaType, digest, size: found.size }).filter((entry) => !isKept(entry))
  return [
    {
      mediaType,
      digest,
      size: found.size,
      tags: (tagsOf.get(digest) ?? []).toSorted(),
      pushedAt: link?.pushedAt ?? found.mtime.toISOString(),
      ...(pulled === undefined ? {} : { lastPulledAt: new Date(pulled).toISOString() }),
      contentBytes: blobs.reduce((sum, blob) => sum + blob.size, 0),
      ...(referrer ? { subject: referrer.subject, artifactType: referrer.descriptor.artifactType } : {}),
      isChild: children.has(digest),
    },
  ]
}
