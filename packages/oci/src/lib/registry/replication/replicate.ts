import type { Layout } from '../../layout/layout.ts'
import type { Digest } from '../../spec/digest.ts'
import { parseReference, renderReference } from '../../spec/reference.ts'
import { createRegistryClient } from '../client.ts'
import { codeOf } from '../exchange.ts'
import type { RegistryClient } from '../client.ts'
import { copyImage } from '../copy.ts'
import { partsOf } from '../copy-tree.ts'
import type { TransferEvent } from '../copy-tree.ts'
import { pushImage } from '../push.ts'
import type { PushedImage } from '../push.ts'
import { renderPlace } from './config.ts'
import type { ReplicationConfig, ReplicationRule } from './config.ts'
import { listCandidates, planReplication } from './plan.ts'
import type { ReplicationStep, SourceImage } from './plan.ts'

/** How to replicate. */
export interface ReplicateOptions {
  /** The local store. */
  layout: Layout
  /** Default: an anonymous client. */
  client?: RegistryClient | undefined
  /** Copies. Without it nothing is changed. */
  apply?: boolean | undefined
  signal?: AbortSignal | undefined
  onStep?: ((step: ReplicationStep) => void) | undefined
  onProgress?: ((event: TransferEvent) => void) | undefined
}

/** A step and what became of it. */
export interface ReplicatedImage extends ReplicationStep {
  /** `untagged`: the destination does not let the tag change, so the image is there by its digest only. */
  readonly outcome: 'planned' | 'copied' | 'untagged' | 'failed' | 'none'
  /** Of its blobs, those that are not in an image before it counted once; a destination may have some already. */
  readonly bytes: number
  readonly movedBytes: number
  readonly referrers: number
  /** Why it failed, or is untagged. */
  readonly reason?: string | undefined
}

/** What was, or would be, copied. */
export interface Replicated {
  readonly isApplied: boolean
  /** All but those that are there already. */
  readonly images: readonly ReplicatedImage[]
  /** Sources and destinations that cannot be read; the others are dealt with. */
  readonly faults: readonly { readonly rule: number; readonly place: string; readonly reason: string }[]
  readonly summary: {
    readonly images: number
    readonly same: number
    readonly copied: number
    readonly untagged: number
    readonly failed: number
    /** At most to be moved. */
    readonly bytes: number
    readonly movedBytes: number
  }
}

/**
 * Copies the images that `config` wants elsewhere and that are not there: indexes with all their platforms, and what refers
 * to them (signatures, SBOMs). Only tagged images are found. Nothing is deleted; an image that fails holds up no other.
 */
export async function replicateImages(config: ReplicationConfig, options: ReplicateOptions): Promise<Replicated> {
  const { layout, client = createRegistryClient(), apply = false, signal } = options
  const faults: Replicated['faults'][number][] = []
  const candidates = []
  for (const [index, rule] of config.rules.entries()) {
    try {
      candidates.push(...listCandidates(rule, index + 1, await listImages(rule, layout, client, signal)))
    } catch (error) {
      signal?.throwIfAborted()
      const place = rule.source ? renderPlace(rule.source) : layout.dir
      faults.push({ rule: index + 1, place, reason: messageOf(error) })
    }
  }
  const there = new Map<string, Digest>()
  const unreadable = new Map<string, string>()
  for (const { to } of candidates) {
    if (there.has(to)) continue
    try {
      there.set(to, (await client.resolve(parseReference(to), signal)).digest)
    } catch (error) {
      signal?.throwIfAborted()
      if (codeOf(error) !== 'FAIRLEAD_OCI_REGISTRY_NOT_FOUND') unreadable.set(to, messageOf(error))
    }
  }
  const steps = planReplication(candidates, there)
  const images: ReplicatedImage[] = []
  const counted = new Set<string>()
  for (const step of steps) {
    signal?.throwIfAborted()
    if (step.action === 'same') continue
    options.onStep?.(step)
    images.push(await replicate(step))
  }
  const count = (outcome: ReplicatedImage['outcome']): number =>
    images.filter((each) => each.outcome === outcome).length
  const sum = (key: 'bytes' | 'movedBytes'): number => images.reduce((all, each) => all + each[key], 0)
  return {
    isApplied: apply,
    images,
    faults,
    summary: {
      images: steps.length,
      same: steps.length - images.length,
      copied: count('copied'),
      untagged: count('untagged'),
      failed: count('failed'),
      bytes: sum('bytes'),
      movedBytes: sum('movedBytes'),
    },
  }

  async function replicate(step: ReplicationStep): Promise<ReplicatedImage> {
    const nothing = { ...step, bytes: 0, movedBytes: 0, referrers: 0 }
    if (step.action === 'conflict') {
      return { ...nothing, outcome: 'failed', reason: 'an earlier rule gives this tag another image' }
    }
    const unread = unreadable.get(step.to)
    if (unread !== undefined) return { ...nothing, outcome: 'failed', reason: unread }
    let bytes = 0
    try {
      bytes = await sizeOf(step)
      if (!apply) return { ...nothing, bytes, outcome: 'planned' }
      const { movedBytes, referrers } = await copy(step, step.to)
      return { ...step, bytes, movedBytes, referrers, outcome: 'copied' }
    } catch (error) {
      signal?.throwIfAborted()
      const failed = { ...nothing, bytes, outcome: 'failed' as const, reason: messageOf(error) }
      const isRefused = /_REGISTRY_(REFUSED|DENIED)$/.test(codeOf(error))
      return apply && step.action === 'move' && isRefused ? await copyUntagged(step, failed) : failed
    }
  }

  /** A tag that cannot be changed there: as in ECR, the image goes there without it. */
  async function copyUntagged(step: ReplicationStep, failed: ReplicatedImage): Promise<ReplicatedImage> {
    const { registry, repository } = parseReference(step.to)
    try {
      const pinned = renderReference({ registry, repository, digest: step.digest })
      const { movedBytes, referrers } = await copy(step, pinned)
      return { ...failed, movedBytes, referrers, outcome: 'untagged' }
    } catch {
      signal?.throwIfAborted()
      return failed
    }
  }

  function copy({ from, digest, rule }: ReplicationStep, to: string): Promise<PushedImage> {
    const { registry, repository } = parseReference(from)
    // What was planned, whatever the tag means by now.
    const pinned = renderReference({ registry, repository, digest })
    const how = { client, signal, withReferrers: true, onProgress: options.onProgress }
    const isLocal = config.rules[rule - 1]?.source === undefined
    return isLocal ? pushImage(pinned, to, { ...how, layout }) : copyImage(pinned, to, how)
  }

  async function sizeOf({ from, to, digest, rule }: ReplicationStep): Promise<number> {
    const source = parseReference(from)
    const isLocal = config.rules[rule - 1]?.source === undefined
    const place = parseReference(to).registry
    const read = async (wanted: Digest): Promise<Uint8Array> =>
      isLocal
        ? await layout.readBlob(wanted)
        : (await client.manifest({ registry: source.registry, repository: source.repository, digest: wanted }, signal))
            .bytes
    const walk = async (wanted: Digest, mediaType: string | undefined): Promise<number> => {
      if (counted.has(`${place} ${wanted}`)) return 0
      counted.add(`${place} ${wanted}`)
      const bytes = await read(wanted)
      const type = mediaType ?? typeOf(bytes)
      let size = 0
      const { children, blobs } = partsOf(from, { mediaType: type, digest: wanted, size: bytes.byteLength }, bytes)
      for (const blob of blobs) {
        if (counted.has(`${place} ${blob.digest}`)) continue
        counted.add(`${place} ${blob.digest}`)
        size += blob.size
      }
      for (const child of children) size += await walk(child.digest, child.mediaType)
      return size
    }
    return await walk(digest, undefined)
  }
}

/** The tags of the source of a rule. */
async function listImages(
  { source, prefixes }: ReplicationRule,
  layout: Layout,
  client: RegistryClient,
  signal: AbortSignal | undefined,
): Promise<SourceImage[]> {
  if (source === undefined) {
    return (await layout.list()).flatMap(({ reference, descriptor: { digest } }) => {
      const { registry, repository, tag } = parseReference(reference)
      return registry === 'localhost' && tag !== undefined ? [{ repository, tag, digest, reference }] : []
    })
  }
  const { registry, prefix } = source
  const below = prefix === '' ? '' : `${prefix}/`
  const names =
    source.repositories ??
    (await client.listRepositories(registry, signal))
      .filter((name) => name.startsWith(below))
      .map((name) => name.slice(below.length))
  const images: SourceImage[] = []
  for (const repository of names) {
    if (prefixes.length > 0 && !prefixes.some((each) => repository.startsWith(each))) continue
    for (const tag of await client.listTags({ registry, repository: `${below}${repository}` }, signal)) {
      const reference = { registry, repository: `${below}${repository}`, tag }
      const { digest } = await client.resolve(reference, signal)
      images.push({ repository, tag, digest, reference: renderReference(reference) })
    }
  }
  return images
}

function typeOf(bytes: Uint8Array): string {
  const value = JSON.parse(Buffer.from(bytes).toString()) as { mediaType?: string; manifests?: unknown }
  const kind = value.manifests ? 'index' : 'manifest'
  return value.mediaType ?? `application/vnd.oci.image.${kind}.v1+json`
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
