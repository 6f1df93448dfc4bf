import type { StandardSchema } from '../http/schema.ts'
import { resource } from '../lifecycle/resource.ts'
import type { Resource } from '../lifecycle/resource.ts'
import { configDefinitionInvalid } from './errors.ts'
import { evaluate } from './evaluate.ts'
import { parseJsonSchema, renderJsonSchema } from './json-schema.ts'
import { listLeaves, renderEnvName } from './names.ts'
import { openConfig } from './open.ts'
import type { Config, OpenConfigOptions } from './open.ts'
import type { ConfigOptions, ConfigReport, ConfigValues } from './options.ts'
import { readSources } from './read.ts'
import { isRecord } from './spec.ts'
import type { JsonSchema, ValueSpec } from './spec.ts'
import { renderKey } from './tree.ts'
import { isSchema, specOf } from './values.ts'

/** Keys and what they must be: values of this module, schemas of any Standard Schema library, or groups of such. */
export interface ConfigShape {
  readonly [key: string]: StandardSchema | ConfigShape
}

/** What a shape becomes. */
export type ShapeOutput<Shape> = {
  readonly [Key in keyof Shape]: Shape[Key] extends StandardSchema<infer Output> ? Output : ShapeOutput<Shape[Key]>
}

/** A configuration of whatever type: what tools take. */
export interface AnyConfigDefinition extends Resource<unknown> {
  readonly options: ConfigOptions
  /** What is needed to read and check it; not for callers. */
  readonly '~config': ValueSpec
  readonly live: Resource<unknown>
  /** JSON Schema, draft 2020-12. {@link checkConfig} takes it as well: what a deploy is checked with. */
  jsonSchema(): JsonSchema
}

/**
 * A configuration that has been described, and reads nothing yet. As a resource that others need (`resource({ config },
 * ...)`) it is the value at the start; {@link ConfigDefinition.live} is the {@link Config} that follows changes.
 */
export interface ConfigDefinition<T> extends Resource<T> {
  readonly options: ConfigOptions
  readonly '~config': ValueSpec
  readonly live: Resource<Config<T>>
  /** `openConfig`, for those that are handed a definition and need not load this module. */
  '~open'(options: OpenConfigOptions): Promise<Config<T>>
  /** {@link checkConfig} with the files and directories read; what `fairlead config check` asks. Directories given replace those of the definition. */
  '~check'(values: ConfigValues): Promise<ConfigReport>
  /** See {@link AnyConfigDefinition}. */
  jsonSchema(): JsonSchema
}

/**
 * Describes the configuration of a service.
 *
 * ```ts
 * const config = defineConfig({ db: { url: url(), pool: integer({ default: 10 }) } }, { env: 'ORDERS_', dir: '/etc/orders' })
 * ```
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_CONFIG_DEFINITION`
 */
export function defineConfig<T>(schema: StandardSchema<T>, options?: ConfigOptions): ConfigDefinition<T>
export function defineConfig<const Shape extends ConfigShape>(
  shape: Shape,
  options?: ConfigOptions,
): ConfigDefinition<ShapeOutput<Shape>>
export function defineConfig(shape: StandardSchema | ConfigShape, options: ConfigOptions = {}): unknown {
  const spec = isSchema(shape) ? specOf(shape) : groupOf(shape, [])
  refuseEqualNames(spec)
  const live: Resource<Config<unknown>> = resource(
    ({ env, log, signal }) => openConfig(definition, { env, log, signal }),
    { critical: false, health: (config) => config.check(), stop: (config) => config[Symbol.asyncDispose]() },
  )
  const definition: ConfigDefinition<unknown> = {
    ...resource({ live }, (needs) => needs.live.value),
    options,
    '~config': spec,
    live,
    '~open': (openOptions) => openConfig(definition, openOptions),
    async '~check'(values) {
      const sources = await readSources(values.mounted ? { ...options, dir: undefined } : options)
      return await checkConfig(definition, { ...sources, ...values, mounted: values.mounted ?? sources.mounted })
    },
    jsonSchema: () => renderJsonSchema(spec, options),
  }
  return definition
}

/**
 * Checks the texts of the layers against a definition, or against its JSON Schema where the service's code is not.
 * Reads no file and no environment: `values` is all there is.
 */
export async function checkConfig(
  schema: Pick<AnyConfigDefinition, '~config' | 'options'> | JsonSchema,
  values: ConfigValues,
): Promise<ConfigReport> {
  const { spec, options } = isDefinition(schema)
    ? { spec: schema['~config'], options: schema.options }
    : parseJsonSchema(schema)
  const { value: _, ...report } = await evaluate(spec, options, values)
  return report
}

function isDefinition(schema: object): schema is Pick<AnyConfigDefinition, '~config' | 'options'> {
  return '~config' in schema
}

function groupOf(shape: unknown, path: readonly string[]): ValueSpec {
  if (!isRecord(shape) || path.length > 12)
    throw configDefinitionInvalid(renderKey(path), 'it is neither a schema nor a group of them')
  const keys = Object.entries(shape).map(([name, part]) => {
    if (name === '__proto__') throw configDefinitionInvalid(renderKey([...path, name]), 'the name is not permitted')
    return [name, isSchema(part) ? specOf(part) : groupOf(part, [...path, name])] as const
  })
  return { kind: 'group', keys: Object.fromEntries(keys) }
}

/** Two keys that one variable would set. */
function refuseEqualNames(spec: ValueSpec): void {
  const seen = new Map<string, string>()
  for (const { path } of listLeaves(spec)) {
    const name = renderEnvName('', path)
    const other = seen.get(name)
    if (other !== undefined)
      throw configDefinitionInvalid(renderKey(path), `in the environment it is called ${name}, and so is "${other}"`)
    seen.set(name, renderKey(path))
  }
}
