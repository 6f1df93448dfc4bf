/**
 * A container registry (distribution-spec 1.1) that keeps its content in an OCI layout: what is built into the layout is
 * served, what is pushed can be run.
 *
 * @example
 * ```ts
 * import { serveRegistry } from '@fairlead/oci/server'
 *
 * await using registry = await serveRegistry({ dir: '/tmp/fairlead-registry-example' })
 * const answer = await fetch(`${registry.url}/v2/_catalog`) // { repositories: [] }
 * ```
 */
export type { AccessOptions, AccessRule, RegistryAction, RegistryOwner } from './lib/registry/server/access.ts'
export { checkStore, isIntact } from './lib/registry/server/check.ts'
export type { CheckOptions, StoreProblem, StoreReport } from './lib/registry/server/check.ts'
export { collectGarbage } from './lib/registry/server/collect.ts'
export type { Collected, CollectOptions } from './lib/registry/server/collect.ts'
export type { PushEvent } from './lib/registry/server/call.ts'
export type {
  TagMutability,
  TagMutabilityExclusionFilter,
  TagMutabilityRule,
} from './lib/registry/server/immutability.ts'
export { pruneStore } from './lib/registry/lifecycle/prune.ts'
export type { Pruned, PruneOptions } from './lib/registry/lifecycle/prune.ts'
export { openRegistry, serveRegistry } from './lib/registry/server/server.ts'
export type {
  Registry,
  RegistryLog,
  RegistryOptions,
  ServedRegistry,
  ServeOptions,
} from './lib/registry/server/server.ts'
export { openRegistryStore } from './lib/registry/server/store.ts'
export type { StoredImage } from './lib/registry/server/images.ts'
export type { RegistryStore, StoredManifest } from './lib/registry/server/store.ts'
export type { ExternalTokens } from './lib/registry/server/tokens.ts'
export type { UploadLimits } from './lib/registry/server/uploads.ts'
export type { Upstream, UpstreamClient } from './lib/registry/server/upstream.ts'
