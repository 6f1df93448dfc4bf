import type { Clock } from '@fairlead/kube/controller'
import { parseReference, renderReference } from '@fairlead/oci'
import type { Layout, ResolvedImage } from '@fairlead/oci/layout'

import { readDisk } from '../eviction/left.ts'
import type { DiskLeft } from '../eviction/left.ts'
import type { PullImage } from '../images.ts'
import { describeShortfall } from './messages.ts'
import { findOutlived, isEnough, isShort, planRemoval } from './plan.ts'
import { PulledImages } from './pulled-images.ts'
import type { PulledImage } from './pulled-images.ts'
import { createImageRemover } from './remove-image.ts'
import type { ImageRemover } from './remove-image.ts'
import type { ImageGcSettings } from './settings.ts'

export interface ImageKeeperOptions {
  readonly layout: Layout
  /** Where it is written down which images were pulled. */
  readonly file: string
  readonly settings: ImageGcSettings
  readonly clock: Pick<Clock, 'now'>
  /** How much is free. Default: as the kernel says. */
  readonly readDisk?: ((dir: string) => Promise<DiskLeft>) | undefined
  /** For so long after their last use blobs stay that nothing points at. Default ten minutes. */
  readonly blobGraceMs?: number | undefined
}

/** A node, as one that needs images. */
export interface ImageUser {
  /** Images its pods have or wait for, as the pods name them. */
  inUse(): Iterable<string>
  /** Removes unpacked layers no image of `images` has and nobody used for `unusedMs`. */
  pruneLayers(images: readonly ResolvedImage[], unusedMs: number): Promise<void>
}

const BLOB_GRACE_MS = 600_000
/** A layer is unpacked before a container mounts it: meanwhile nothing shows that somebody needs it. */
const LEAST_LAYER_MS = 60_000

/**
 * Brings images for the nodes of a machine, and removes those it has brought when the disk is short of room and no pod needs
 * them (Kubernetes, "Container image lifecycle"). What others put into the store stays.
 */
export class ImageKeeper {
  readonly #options: ImageKeeperOptions
  readonly #pulled: PulledImages
  readonly #remover: ImageRemover
  readonly #users = new Set<ImageUser>()
  readonly #pulling = new Map<string, number>()
  #work: Promise<unknown> = Promise.resolve()

  private constructor(options: ImageKeeperOptions, pulled: PulledImages) {
    this.#options = options
    this.#pulled = pulled
    this.#remover = createImageRemover(options.layout, options.blobGraceMs ?? BLOB_GRACE_MS)
  }

  static async open(options: ImageKeeperOptions): Promise<ImageKeeper> {
    return new ImageKeeper(options, await PulledImages.open(options.file))
  }

  /** Returns what ends it. */
  join(user: ImageUser): () => void {
    this.#users.add(user)
    return () => void this.#users.delete(user)
  }

  /** Pulls by `pull`, and takes note of what was not here before. */
  keeping(pull: PullImage): PullImage {
    return async (name, asked) => {
      const reference = renderReference(parseReference(name))
      this.#pulling.set(reference, (this.#pulling.get(reference) ?? 0) + 1)
      try {
        const isOurs = this.#pulled.has(reference) || (await this.#find(reference)) === undefined
        await pull(name, asked)
        if (isOurs) await this.#note(reference)
      } finally {
        const others = (this.#pulling.get(reference) ?? 1) - 1
        if (others > 0) this.#pulling.set(reference, others)
        else this.#pulling.delete(reference)
      }
    }
  }

  async #note(reference: string): Promise<void> {
    const digest = (await this.#find(reference))?.descriptor.digest
    const now = this.#options.clock.now()
    if (digest !== undefined) await this.#pulled.change([{ reference, digest, pulledAt: now, usedAt: now }])
  }

  async #find(reference: string): Promise<Awaited<ReturnType<Layout['list']>>[number] | undefined> {
    return (await this.#options.layout.list()).find((entry) => entry.reference === reference)
  }

  /** Removes images where the disk is short of room; when that did not help, tells in the words of kubelets. */
  collect(): Promise<string | undefined> {
    return this.#one(() => this.#collect())
  }

  /** Removes all that no pod needs. */
  reclaim(): Promise<void> {
    return this.#one(() => this.#removeUntil(async () => false))
  }

  /** One after the other: nodes of one machine share the store. */
  #one<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#work.then(work)
    this.#work = done.catch(() => {})
    return done
  }

  async #collect(): Promise<string | undefined> {
    const { settings, clock } = this.#options
    for (const image of findOutlived(await this.#candidates(), settings, clock.now())) await this.#remove(image)
    const before = await this.#readDisk()
    if (!isShort(settings, before)) return undefined
    await this.#removeUntil(async () => isEnough(settings, await this.#readDisk()))
    const left = await this.#readDisk()
    return isEnough(settings, left) ? undefined : describeShortfall(before, left)
  }

  /** Unpacked layers first, which cost nothing but time to have again. */
  async #removeUntil(isDone: () => Promise<boolean>): Promise<void> {
    await this.#pruneLayers()
    for (const image of await this.#candidates()) {
      if (await isDone()) return
      await this.#remove(image)
    }
  }

  async #pruneLayers(): Promise<void> {
    const { layout, settings } = this.#options
    const references = [...this.#inUse()]
    const found = await Promise.all(references.map((reference) => layout.resolve(reference).catch(() => undefined)))
    const images = found.filter((image) => image !== undefined)
    for (const user of this.#users) await user.pruneLayers(images, Math.max(settings.minAgeMs, LEAST_LAYER_MS))
  }

  #inUse(): Set<string> {
    return new Set([...this.#users].flatMap((user) => [...user.inUse()].flatMap(canonical)))
  }

  /** None while one is being pulled: what it consists of may be what another is about to lose. */
  async #candidates(): Promise<readonly PulledImage[]> {
    const { clock, settings, layout } = this.#options
    if (this.#pulling.size > 0) return []
    const now = clock.now()
    const listed = new Map((await layout.list()).map(({ reference, descriptor }) => [reference, descriptor.digest]))
    // Somebody has removed it, or made the name mean another image.
    const isOurs = ({ reference, digest }: PulledImage): boolean => listed.get(reference) === digest
    const inUse = this.#inUse()
    const isInUse = ({ reference }: PulledImage): boolean => inUse.has(reference)
    const gone = this.#pulled.all.filter((image) => !isOurs(image)).map(({ reference }) => reference)
    const used = this.#pulled.all.filter((image) => isOurs(image) && isInUse(image))
    const noted = used.map((image) => ({ ...image, usedAt: now }))
    if (gone.length + noted.length > 0) await this.#pulled.change(noted, gone)
    return planRemoval(this.#pulled.all, isInUse, { minAgeMs: settings.minAgeMs, now })
  }

  async #remove(image: PulledImage): Promise<void> {
    await this.#remover.remove(image)
    await this.#pulled.change([], [image.reference])
  }

  #readDisk(): Promise<DiskLeft> {
    return (this.#options.readDisk ?? readDisk)(this.#options.layout.dir)
  }
}

/** None for a name that is none: no image has it. */
function canonical(name: string): string[] {
  try {
    return [renderReference(parseReference(name))]
  } catch {
    return []
  }
}
