import type { StandardSchema } from '../http/schema.ts'
import type { Secret } from '../secrets/secret.ts'
import { configDefinitionInvalid } from './errors.ts'
import { resolveSpec } from './resolve.ts'
import type { JsonSchema, ValueSpec } from './spec.ts'
import { toTree } from './tree.ts'

/** A schema made here: a Standard Schema that also says what it is, for documentation and for checks without code. */
export interface ConfigValue<T> extends StandardSchema<T> {
  readonly '~fairlead': ValueSpec
}

interface ValueOptions<Raw> {
  /** Used where no layer has the value. */
  readonly default?: Raw | undefined
  /** Permits that there is none. */
  readonly optional?: boolean | undefined
  /** One sentence for the person who sets it. */
  readonly help?: string | undefined
}

/** `T`, and undefined for a value that is optional. */
type Given<T, Options> = Options extends { readonly optional: true } ? T | undefined : T

interface TextOptions extends ValueOptions<string> {
  readonly minLength?: number | undefined
  readonly maxLength?: number | undefined
  /** A regular expression for the whole text. */
  readonly pattern?: string | undefined
}
interface NumberOptions extends ValueOptions<number> {
  readonly min?: number | undefined
  readonly max?: number | undefined
}
interface UnitOptions extends ValueOptions<string> {
  readonly min?: string | undefined
  readonly max?: string | undefined
}
interface PortOptions extends ValueOptions<number> {
  /** Default 1; 0 permits the port that asks for a free one. */
  readonly min?: number | undefined
}
interface UrlOptions extends ValueOptions<string> {
  /** Without colon, such as `['postgres', 'postgresql']`. Default: any. */
  readonly protocols?: readonly string[] | undefined
}
interface ListOptions<T> extends ValueOptions<readonly T[]> {
  readonly minItems?: number | undefined
  readonly maxItems?: number | undefined
}

export function text<const O extends TextOptions = TextOptions>(options?: O): ConfigValue<Given<string, O>> {
  if (options?.pattern !== undefined && !isPattern(options.pattern))
    throw configDefinitionInvalid(options.pattern, 'the pattern is no regular expression')
  return valueOf({ kind: 'text', ...options })
}

function isPattern(pattern: string): boolean {
  try {
    return new RegExp(`^(?:${pattern})$`, 'u') instanceof RegExp
  } catch {
    return false
  }
}

export function number<const O extends NumberOptions = NumberOptions>(options?: O): ConfigValue<Given<number, O>> {
  return valueOf({ kind: 'number', ...options })
}

/** A whole number. */
export function integer<const O extends NumberOptions = NumberOptions>(options?: O): ConfigValue<Given<number, O>> {
  return valueOf({ kind: 'number', isInteger: true, ...options })
}

/** `true` or `false`; as text also `1`, `0`, `yes`, `no`, `on`, `off`. */
export function boolean<const O extends ValueOptions<boolean> = ValueOptions<boolean>>(
  options?: O,
): ConfigValue<Given<boolean, O>> {
  return valueOf({ kind: 'boolean', ...options })
}

/** Milliseconds, written `500ms`, `5s`, `1m30s`, `2h`, `7d`. */
export function duration<const O extends UnitOptions = UnitOptions>(options?: O): ConfigValue<Given<number, O>> {
  return valueOf({ kind: 'duration', ...options })
}

/** Bytes, written `16MiB`, `512Mi`, `1.5GB`, `64k` or as a number. */
export function size<const O extends UnitOptions = UnitOptions>(options?: O): ConfigValue<Given<number, O>> {
  return valueOf({ kind: 'size', ...options })
}

export function port<const O extends PortOptions = PortOptions>(options?: O): ConfigValue<Given<number, O>> {
  return valueOf({ kind: 'port', ...options })
}

/** An absolute URL, as it was written. What is printed of it has no password. */
export function url<const O extends UrlOptions = UrlOptions>(options?: O): ConfigValue<Given<string, O>> {
  return valueOf({ kind: 'url', ...options })
}

/** One of a few words. */
export function choice<const C extends string, const O extends ValueOptions<NoInfer<C>> = ValueOptions<NoInfer<C>>>(
  choices: readonly C[],
  options?: O,
): ConfigValue<Given<C, O>> {
  return valueOf({ kind: 'choice', choices, ...options })
}

/** A text, or what `of` makes of it, that no message, log line or dump shows. There are no defaults for secrets. */
export function secret<const O extends SecretOptions = SecretOptions>(options?: O): ConfigValue<Given<Secret, O>>
export function secret<T, const O extends SecretOptions = SecretOptions>(
  of: StandardSchema<T>,
  options?: O,
): ConfigValue<Given<Secret<T>, O>>
export function secret(first?: SecretOptions | StandardSchema, second?: SecretOptions): ConfigValue<never> {
  if (isSchema(first)) return valueOf({ ...specOf(first), ...second, secret: true })
  return valueOf({ kind: 'text', minLength: 1, ...first, secret: true })
}

type SecretOptions = Omit<ValueOptions<never>, 'default'>

/** A list; as text `a,b,c`, JSON, or in a mounted file YAML. Layers replace it as a whole. */
export function list<T, const O extends ListOptions<T> = ListOptions<T>>(
  of: StandardSchema<T>,
  options?: O,
): ConfigValue<Given<readonly T[], O>> {
  return valueOf({ kind: 'list', of: specOf(of), ...options })
}

/** Values by names that are not known beforehand; as text `a=1,b=2` or JSON. Layers are merged. */
export function record<
  T,
  const O extends ValueOptions<Readonly<Record<string, T>>> = ValueOptions<Readonly<Record<string, T>>>,
>(of: StandardSchema<T>, options?: O): ConfigValue<Given<Readonly<Record<string, T>>, O>> {
  return valueOf({ kind: 'record', of: specOf(of), ...options })
}

/** Feature flags by name with their defaults; a flag that is not declared is an unknown key. */
export function flags<const Names extends string>(
  defaults: Readonly<Record<Names, boolean>>,
): ConfigValue<{ readonly [Name in Names]: boolean }> {
  const keys = Object.entries<boolean>(defaults).map(([name, value]) => [name, { kind: 'boolean', default: value }])
  return valueOf({ kind: 'group', keys: Object.fromEntries(keys) as Record<string, ValueSpec> })
}

/** What any schema is to us: one of ours tells, of another library's the JSON Schema is used where it gives one. */
export function specOf(schema: StandardSchema): ValueSpec {
  if ('~fairlead' in schema) return schema['~fairlead'] as ValueSpec
  return { kind: 'schema', schema, json: jsonSchemaOf(schema) }
}

export function isSchema(value: unknown): value is StandardSchema {
  // Schemas of arktype are functions.
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  const standard: unknown = '~standard' in value ? value['~standard'] : undefined
  return typeof standard === 'object' && standard !== null && 'validate' in standard
}

/** Any value as the schema of one kind; the caller's signature says of which type. */
function valueOf<T>(spec: ValueSpec): ConfigValue<T> {
  return {
    '~fairlead': spec,
    '~standard': {
      version: 1,
      vendor: 'fairlead',
      async validate(value) {
        const issues: { message: string; path: readonly PropertyKey[] }[] = []
        const result = await resolveSpec(spec, value === undefined ? undefined : toTree(value, 'value'), {
          report: ({ path, message }) => issues.push({ path, message }),
        })
        return issues.length > 0 ? { issues } : { value: result as T }
      },
    },
  }
}

/** Standard JSON Schema (standardschema.dev): what zod, arktype and valibot's converter offer. */
function jsonSchemaOf(schema: StandardSchema): JsonSchema | undefined {
  const standard: object = schema['~standard']
  if (!('jsonSchema' in standard)) return undefined
  const { jsonSchema } = standard as { jsonSchema?: { input?: (options: { target: string }) => JsonSchema } }
  try {
    return jsonSchema?.input?.({ target: 'draft-2020-12' })
  } catch {
    // Not everything can be said in JSON Schema (transforms, dates); then its keys are not known beforehand.
    return undefined
  }
}
