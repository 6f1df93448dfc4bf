import { collectGarbage } from '../server/collect.ts'
import type { Collected } from '../server/collect.ts'
import type { StoredImage } from '../server/images.ts'
import type { RegistryStore } from '../server/store.ts'
import { dayMs } from './image.ts'
import type { LifecycleImage } from './image.ts'
import { lintLifecycle, previewLifecycle } from './policy.ts'
import type { LifecyclePolicy, LifecyclePreview } from './policy.ts'
import { matchesGlob } from './zot.ts'

export interface PruneOptions {
  /** Default: `latest` and the three images of each repository that were pushed last stay, and what is younger than a day. */
  readonly policy?: LifecyclePolicy | undefined
  /** A glob; default: all repositories. */
  readonly repository?: string | undefined
  /** Deletes. Without it nothing is changed. */
  readonly apply?: boolean | undefined
  /** Milliseconds since the epoch. Default: now. */
  readonly now?: number | undefined
  /** How long content is kept that nothing points at any more. Default 24 hours. */
  readonly graceMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** What was, or would be, deleted. */
export interface Pruned {
  readonly isApplied: boolean
  /** Those in which the policy acts. */
  readonly repositories: readonly (LifecyclePreview & { readonly repository: string })[]
  /** What the policy does that is hardly meant. */
  readonly warnings: readonly string[]
  /** Content that went, or without `apply`: that nothing points at already. */
  readonly collected: Collected
}

const defaultPolicy: LifecyclePolicy = {
  kind: 'zot',
  delayMs: dayMs,
  rules: [
    {
      repositories: ['**'],
      deleteUntagged: true,
      deleteReferrers: true,
      keepTags: [
        { patterns: [/^latest$/], ...noCriteria() },
        { patterns: [/^/], ...noCriteria(), mostRecentlyPushedCount: 3, pushedWithinMs: dayMs },
      ],
    },
  ],
}

/**
 * Applies a lifecycle policy to a store, and collects the content that no image needs afterwards. A policy that archives has
 * nothing to archive to here: such actions are shown, and nothing is done.
 */
export async function pruneStore(store: RegistryStore, options: PruneOptions = {}): Promise<Pruned> {
  const {
    policy = defaultPolicy,
    repository: glob = '**',
    apply: isApplied = false,
    now = Date.now(),
    signal,
  } = options
  const repositories: Pruned['repositories'][number][] = []
  const warnings = new Set<string>()
  for (const repository of await store.repositories()) {
    if (!matchesGlob(glob, repository)) continue
    signal?.throwIfAborted()
    const stored = store.images(repository)
    const images = stored.map((image) => toLifecycleImage(store, image))
    // The default is ours: it needs no warning.
    if (options.policy) for (const warning of lintLifecycle(policy, images)) warnings.add(warning)
    const preview = previewLifecycle(policy, repository, images, now)
    if (preview.actions.length === 0) continue
    repositories.push({ repository, ...preview })
    if (isApplied) await deleteExpired(store, repository, preview, stored)
  }
  const collected = await collectGarbage(store, { graceMs: options.graceMs, isDryRun: !isApplied, signal })
  return { isApplied, repositories, warnings: [...warnings], collected }
}

/** An index before its parts: those belong to it as long as it is there. */
async function deleteExpired(
  store: RegistryStore,
  repository: string,
  { actions }: LifecyclePreview,
  stored: readonly StoredImage[],
): Promise<void> {
  const children = new Set(stored.filter(({ isChild }) => isChild).map(({ digest }) => digest))
  const expired = actions.filter(({ action }) => action === 'expire')
  const isChild = ({ digest }: { readonly digest: StoredImage['digest'] }): boolean => children.has(digest)
  for (const { digest } of [...expired.filter((action) => !isChild(action)), ...expired.filter(isChild)])
    await store.deleteManifest(repository, digest)
  await detachDocuments(
    store,
    stored.filter((image) => image.subject !== undefined && expired.some(({ digest }) => digest === image.digest)),
  )
}

/**
 * What a build attached to an image, such as its SBOM, belongs to whichever repository has the image, and to none once it is gone: it
 * goes when no repository has the image any more, and would keep its content otherwise.
 */
async function detachDocuments(store: RegistryStore, documents: readonly StoredImage[]): Promise<void> {
  if (documents.length === 0) return
  const kept = new Set<StoredImage['digest']>()
  for (const name of await store.repositories()) for (const { digest } of store.images(name)) kept.add(digest)
  for (const { digest, subject } of documents)
    if (subject !== undefined && !kept.has(subject) && !kept.has(digest)) await store.layout.detach(digest)
}

function toLifecycleImage(store: RegistryStore, image: StoredImage): LifecycleImage {
  const { digest, mediaType, tags, pushedAt, lastPulledAt, subject } = image
  return {
    digest,
    tags,
    subject,
    pushedAt: Date.parse(pushedAt),
    lastPulledAt: lastPulledAt === undefined ? undefined : Date.parse(lastPulledAt),
    children: store.manifestLinks(mediaType, digest)?.manifests.map((child) => child.digest),
  }
}

function noCriteria(): {
  mostRecentlyPushedCount: undefined
  mostRecentlyPulledCount: undefined
  pushedWithinMs: undefined
  pulledWithinMs: undefined
} {
  return {
    mostRecentlyPushedCount: undefined,
    mostRecentlyPulledCount: undefined,
    pushedWithinMs: undefined,
    pulledWithinMs: undefined,
  }
}
