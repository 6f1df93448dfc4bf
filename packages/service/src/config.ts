/**
 * Typed configuration: defaults, files, mounted ConfigMaps, environment and flags in layers, every problem at once, and
 * reloads that are all or nothing.
 *
 * ```ts
 * import { defineConfig, duration, openConfig, port, secret, url } from '@fairlead/service/config'
 *
 * const definition = defineConfig(
 *   { port: port({ default: 8080 }), db: { url: url(), password: secret(), timeout: duration({ default: '5s' }) } },
 *   { env: 'ORDERS_' },
 * )
 *
 * await using config = await openConfig(definition, { env: { ORDERS_DB_URL: 'postgres://db/orders', ORDERS_DB_PASSWORD: 'x' } })
 * console.log(config.value.db.timeout, config.origin('db.url')) // 5000 env ORDERS_DB_URL
 * ```
 */
export { checkConfig, defineConfig } from './lib/config/define.ts'
export type { AnyConfigDefinition, ConfigDefinition, ConfigShape, ShapeOutput } from './lib/config/define.ts'
export { openConfig } from './lib/config/open.ts'
export type { Config, ConfigDescription, OpenConfigOptions } from './lib/config/open.ts'
export type { ConfigChange, ConfigKey } from './lib/config/changes.ts'
export type { ConfigError } from './lib/config/errors.ts'
export type { ConfigKeyReport, ConfigOptions, ConfigProblem, ConfigReport, ConfigValues } from './lib/config/options.ts'
export { readSources } from './lib/config/read.ts'
export {
  boolean,
  choice,
  duration,
  flags,
  integer,
  list,
  number,
  port,
  record,
  secret,
  size,
  text,
  url,
} from './lib/config/values.ts'
export type { ConfigValue } from './lib/config/values.ts'
export type { JsonSchema, ValueSpec } from './lib/config/spec.ts'
export { Secret } from './lib/secrets/secret.ts'
