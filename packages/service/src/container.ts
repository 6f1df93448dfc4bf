/**
 * What the container allows, how much of it is used, and how Node should be started for it.
 *
 * ```ts
 * import { detectSurroundings, openCgroup, planResources } from '@fairlead/service/container'
 *
 * const { isContainer } = detectSurroundings()
 * const limits = openCgroup().readLimits()
 * console.log({ isContainer, memoryBytes: limits.memoryBytes ?? 'not limited' })
 * for (const { setting, value, reason } of planResources(limits)) console.log(`${setting}=${value}: ${reason}`)
 * ```
 */
export { openCgroup } from './lib/container/cgroup.ts'
export type { Cgroup, CgroupLimits, CgroupOptions, CgroupUsage, Pressure } from './lib/container/cgroup.ts'
export { detectSurroundings } from './lib/container/detect.ts'
export type { DetectOptions, Surroundings } from './lib/container/detect.ts'
export { addCgroupMetrics } from './lib/container/metrics.ts'
export { planResources } from './lib/container/plan.ts'
export type { Decision, Machine } from './lib/container/plan.ts'
export { watchLimits } from './lib/container/watch.ts'
export type { WatchLimitsOptions } from './lib/container/watch.ts'
