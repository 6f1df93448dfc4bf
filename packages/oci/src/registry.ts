/**
 * Reading from container registries (distribution-spec 1.1): anonymously, with a password or with tokens.
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
export { createRegistryClient } from './lib/registry/client.ts'
export type { Credentials, RegistryClient, RegistryClientOptions } from './lib/registry/client.ts'
export { pullImage } from './lib/registry/pull.ts'
export type { PulledImage, PullEvent, PullOptions } from './lib/registry/pull.ts'
