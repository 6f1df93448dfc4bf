/**
 * The definition of an app: what a person writes in `fairlead.config.ts`, and how it is found, checked and completed.
 *
 * ```ts
 * import { defineApp } from '@fairlead/delivery/app'
 *
 * export default defineApp({
 *   name: 'shop',
 *   services: { catalog: {}, orders: { env: { CATALOG_URL: 'http://catalog' } }, web: { public: 8080 } },
 * })
 * ```
 */
export { defineApp } from './lib/app/definition.ts'
export type {
  AllowedFinding,
  App,
  AppBacking,
  AppDefinition,
  AppService,
  BackingDefinition,
  EnvSource,
  EnvValue,
  Health,
  HealthDefinition,
  ResourceAmounts,
  Resources,
  ServiceDefinition,
  VolumeDefinition,
} from './lib/app/definition.ts'
export type { BackingEngine } from './lib/backing/engines.ts'
export { loadApp, type LoadOptions } from './lib/app/load.ts'
export { parseApp } from './lib/app/parse.ts'
export { parseQuantity } from './lib/app/quantity.ts'
export type { AppSource, ServiceFacts } from './lib/app/parse.ts'
