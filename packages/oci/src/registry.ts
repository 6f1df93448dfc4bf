/**
 * Container registries (distribution-spec 1.1): pull, push, copy, tags and referrers, anonymously or with credentials.
 *
 * @example
 * ```ts no-run
 * import { openLayout } from '@fairlead/oci/layout'
 * import { pullImage } from '@fairlead/oci/registry'
 *
 * const layout = await openLayout('/tmp/images')
 * const { pinned } = await pullImage('gcr.io/distroless/static-debian12', { layout, platform: 'linux/amd64' })
 * ```
 */
export type { Credentials, Scope } from './lib/registry/auth.ts'
export { createRegistryClient } from './lib/registry/client.ts'
export type { RegistryClient } from './lib/registry/client.ts'
export type { RegistryClientOptions, RegistryRequest } from './lib/registry/exchange.ts'
export type { HttpAnswer, HttpBody } from './lib/registry/client-http.ts'
export { copyImage } from './lib/registry/copy.ts'
export type { CopiedImage, CopyOptions } from './lib/registry/copy.ts'
export type { TransferEvent, TransferCounts } from './lib/registry/copy-tree.ts'
export { createKeychain } from './lib/registry/credentials.ts'
export type { Keychain, KeychainOptions } from './lib/registry/credentials.ts'
export { findDockerAuths, parseDockerAuths } from './lib/registry/credentials-docker.ts'
export type { DockerAuth } from './lib/registry/credentials-docker.ts'
export { createUserClient } from './lib/registry/user-client.ts'
export type { UserClientOptions } from './lib/registry/user-client.ts'
export { pullImage, pullTree } from './lib/registry/pull.ts'
export type { PulledImage, PulledTree, PullEvent, PullOptions, PullTreeOptions } from './lib/registry/pull.ts'
export { pushImage } from './lib/registry/push.ts'
export type { PushedImage, PushOptions } from './lib/registry/push.ts'
export { listReferrers, putReferrer } from './lib/registry/referrers.ts'
export type { NewReferrer, ReferrerOptions } from './lib/registry/referrers.ts'
export type { LifecycleAction, LifecycleImage } from './lib/registry/lifecycle/image.ts'
export { lintLifecycle, parseLifecyclePolicy, previewLifecycle } from './lib/registry/lifecycle/policy.ts'
export type { LifecyclePolicy, LifecyclePreview } from './lib/registry/lifecycle/policy.ts'
export { parseReplication } from './lib/registry/replication/config.ts'
export type { ReplicationConfig, ReplicationPlace, ReplicationRule } from './lib/registry/replication/config.ts'
export type { ReplicationCandidate, ReplicationStep } from './lib/registry/replication/plan.ts'
export { replicateImages } from './lib/registry/replication/replicate.ts'
export type { Replicated, ReplicatedImage, ReplicateOptions } from './lib/registry/replication/replicate.ts'
