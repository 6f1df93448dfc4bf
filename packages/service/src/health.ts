/**
 * Liveness, readiness and the state of components, independent of any server.
 *
 * ```ts
 * import { createHealth } from '@fairlead/service/health'
 *
 * const health = createHealth({ service: 'catalog' })
 * health.addCheck('disk', () => true, { timeoutMs: 500 })
 * health.state = 'ready'
 * console.log((await health.report()).status)
 * ```
 */
export { createHealth } from './lib/health/health.ts'
export type {
  Availability,
  ComponentHealth,
  Health,
  HealthOptions,
  HealthReport,
  HealthStatus,
} from './lib/health/health.ts'
export type { Check, CheckOptions } from './lib/health/check.ts'
export { findHealthEndpoint, healthJsonType, toHealthJson } from './lib/health/endpoints.ts'
export type { HealthAnswer } from './lib/health/endpoints.ts'
