import type { IndexFile } from '../../layout/index-file.ts'
import type { Digest } from '../../spec/digest.ts'
import type { Descriptor } from '../../spec/image.ts'
import { parseReference } from '../../spec/reference.ts'
import type { ManifestCache } from './manifest-cache.ts'

/** What `index.json` says. */
export interface Snapshot {
  index: unknown
  /** Repository -> tag -> what it means. */
  tags: ReadonlyMap<string, ReadonlyMap<string, Descriptor>>
  sorted: Map<string, readonly string[]>
  /** Manifests of `index.json` without a reference that refer to another one, by that one. */
  attached: ReadonlyMap<Digest, readonly Descriptor[]>
}

/** Tags to be moved to a manifest. */
export interface MovedTags {
  mediaType: string
  digest: Digest
  size: number
  tags: readonly string[]
  /** Looked at under the lock: a tag that stands may not be moved. */
  isImmutable?: ((tag: string) => boolean) | undefined
}

const REFERENCE_NAME = 'org.opencontainers.image.ref.name'
const MAX_PLACES = 100_000

/** The tags of a registry: the entries `localhost/<repository>:<tag>` of the `index.json` of a layout, and nothing else. */
export class Tags {
  readonly index: IndexFile
  readonly #manifests: ManifestCache
  #snapshot: Snapshot | undefined
  readonly #places = new Map<string, { repository: string; tag: string } | null>()

  constructor(index: IndexFile, manifests: ManifestCache) {
    this.index = index
    this.#manifests = manifests
  }

  /** Read again only when the file changed. */
  read(): Snapshot {
    const index = this.index.read()
    if (this.#snapshot?.index === index) return this.#snapshot
    const tags = new Map<string, Map<string, Descriptor>>()
    const attached = new Map<Digest, Descriptor[]>()
    for (const entry of index.manifests) {
      const name = entry.annotations?.[REFERENCE_NAME]
      const place = name === undefined ? undefined : this.#place(name)
      if (place) {
        const known = tags.get(place.repository) ?? new Map<string, Descriptor>()
        tags.set(place.repository, known.set(place.tag, entry))
      } else if (name === undefined) {
        const referrer = this.#manifests.referrer(entry.mediaType, entry.digest)
        if (referrer) attached.set(referrer.subject, [...(attached.get(referrer.subject) ?? []), referrer.descriptor])
      }
    }
    this.#snapshot = { index, tags, sorted: new Map(), attached }
    return this.#snapshot
  }

  /** Sorted by code units, which distribution-spec calls ASCIIbetical. */
  list(repository: string): readonly string[] {
    const snapshot = this.read()
    let sorted = snapshot.sorted.get(repository)
    if (!sorted) {
      sorted = [...(snapshot.tags.get(repository)?.keys() ?? [])].toSorted()
      snapshot.sorted.set(repository, sorted)
    }
    return sorted
  }

  find(repository: string, tag: string): Descriptor | undefined {
    return this.read().tags.get(repository)?.get(tag)
  }

  /** Throws {@link TagStands} before anything is written for a push that would move such a tag. */
  check(repository: string, { tags, digest, isImmutable }: Omit<MovedTags, 'mediaType' | 'size'>): void {
    if (!isImmutable) return
    for (const tag of tags) {
      const standing = this.find(repository, tag)
      if (standing && standing.digest !== digest && isImmutable(tag)) throw new TagStands(tag)
    }
  }

  async move(repository: string, moved: MovedTags): Promise<void> {
    const { digest, mediaType, size, tags, isImmutable } = moved
    const names = new Map(tags.map((tag) => [`localhost/${repository}:${tag}`, tag]))
    await this.index.change((manifests) => {
      const kept: Descriptor[] = []
      let same = 0
      for (const entry of manifests) {
        const tag = names.get(entry.annotations?.[REFERENCE_NAME] ?? '')
        if (tag === undefined) kept.push(entry)
        else if (entry.digest === digest && entry.mediaType === mediaType) same += 1
        else if (entry.digest !== digest && isImmutable?.(tag)) throw new TagStands(tag)
      }
      if (same === names.size) return manifests
      const added = [...names.keys()].map((name) => ({
        mediaType,
        digest,
        size,
        annotations: { [REFERENCE_NAME]: name },
      }))
      return [...kept, ...added]
    })
  }

  /** Answers whether there were any. */
  async remove(repository: string, isMeant: (tag: string, entry: Descriptor) => boolean): Promise<boolean> {
    const prefix = `localhost/${repository}:`
    const meant = ({ annotations }: Descriptor, entry: Descriptor): boolean => {
      const name = annotations?.[REFERENCE_NAME] ?? ''
      return name.startsWith(prefix) && isMeant(name.slice(prefix.length), entry)
    }
    // Most deletions by digest move no tag: they need not wait for the lock.
    if (!this.index.read().manifests.some((entry) => meant(entry, entry))) return false
    let known = false
    await this.index.change((manifests) => {
      const kept = manifests.filter((entry) => !meant(entry, entry))
      known = kept.length < manifests.length
      return known ? kept : manifests
    })
    return known
  }

  #place(name: string): { repository: string; tag: string } | null {
    const known = this.#places.get(name)
    if (known !== undefined) return known
    if (this.#places.size >= MAX_PLACES) this.#places.clear()
    const place = placeOf(name) ?? null
    this.#places.set(name, place)
    return place
  }
}

/** A tag of this name stands and may not be moved. */
export class TagStands extends Error {
  readonly tag: string
  constructor(tag: string) {
    super(`tag "${tag}" stands and may not be moved`)
    this.name = 'TagStands'
    this.tag = tag
  }
}

/** Only images of this machine are served: what was pulled from elsewhere was not put here to be passed on. */
function placeOf(name: string): { repository: string; tag: string } | undefined {
  if (!name.startsWith('localhost/')) return undefined
  try {
    const { repository, tag } = parseReference(name)
    return tag === undefined ? undefined : { repository, tag }
  } catch {
    return undefined
  }
}
