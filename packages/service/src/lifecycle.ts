/**
 * Resources with a lifetime: started in the order of their needs, stopped in reverse, each step with a deadline.
 *
 * ```ts
 * import { resource, startResources } from '@fairlead/service/lifecycle'
 * import { createLogger } from '@fairlead/service/log'
 *
 * const clock = resource(() => setInterval(() => {}, 1000), { stop: (timer) => clearInterval(timer) })
 * const running = await startResources({ clock }, { log: createLogger(), env: process.env })
 * await running.stop()
 * ```
 */
export { resource } from './lib/lifecycle/resource.ts'
export type {
  Environment,
  Resource,
  ResourceMap,
  ResourceOptions,
  ResourceValues,
  StartContext,
} from './lib/lifecycle/resource.ts'
export { startResources } from './lib/lifecycle/start.ts'
export type { StartedResource, StartedResources, StartResourcesOptions } from './lib/lifecycle/start.ts'
