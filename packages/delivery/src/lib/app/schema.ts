import { z } from 'zod'
import { type BackingEngine, ENGINES } from '../backing/engines.ts'
import type { AppDefinition, BackingDefinition, ServiceDefinition } from './definition.ts'
import type { KeyPath } from './locate.ts'
import { parseQuantity } from './quantity.ts'
import { suggest } from './suggest.ts'

/** One thing wrong with a definition. */
export interface Problem {
  readonly path: KeyPath
  /** The state, and what was expected. */
  readonly text: string
}

/** Names leave room for the suffixes of the objects made for a service, within the 63 characters of a label. */
const maxNameLength = 52

const dnsLabel = text(
  `lower-case letters, digits and "-", starting with a letter, at most ${maxNameLength} characters`,
  new RegExp(`^(?=.{1,${maxNameLength}}$)[a-z]([-a-z0-9]*[a-z0-9])?$`),
)
const objectName = text(
  'an object name: lower-case letters, digits, "-" and "."',
  /^(?=.{1,253}$)[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/,
)
const objectKey = text('letters, digits, "-", "_" and "."', /^[-._a-zA-Z0-9]{1,253}$/)
const urlPath = text('a path that starts with "/"', /^\//)
const mountPath = text('an absolute path below "/"', /^\/[^:]*[^:/]$/)
const envName = text(
  'a variable name: letters, digits and "_", not starting with a digit',
  /^[-._a-zA-Z][-._a-zA-Z0-9]*$/,
)
const quantity = z.custom<string>(
  (value) => typeof value === 'string' && parseQuantity(value) !== undefined,
  'a quantity such as "250m" or "256Mi"',
)
const port = integer('a port between 1 and 65535', 1, 65535)
const amounts = z.strictObject({ cpu: quantity.optional(), memory: quantity.optional() })

const ENGINE_TEXT = `one of ${Object.keys(ENGINES).join(', ')}, or an object with it as "engine"`

const envValue = z.union(
  [
    z.string(),
    z.number(),
    z.boolean(),
    z.strictObject({ secret: objectName, key: objectKey }),
    z.strictObject({ configMap: objectName, key: objectKey }),
  ],
  'a string, number, boolean, { secret, key } or { configMap, key }',
)
const volume = z.union(
  [
    z.literal('ephemeral'),
    z.strictObject({ ephemeral: z.strictObject({ sizeLimit: quantity }) }),
    z.strictObject({ configMap: objectName }),
    z.strictObject({ secret: objectName }),
  ],
  '"ephemeral", { ephemeral: { sizeLimit } }, { configMap } or { secret }',
)
const health = z.union(
  [z.enum(['http', 'tcp', 'none']), z.strictObject({ live: urlPath, ready: urlPath })],
  '"http", "tcp", "none" or { live, ready } with paths',
)
const filled = text('a text that is not empty', /\S/)

const service = z.strictObject({
  dir: text('a folder', /./).optional(),
  port: port.optional(),
  public: z.union([z.boolean(), port], 'true, false or a port between 1 and 65535').optional(),
  replicas: integer('a whole number between 0 and 1000', 0, 1000).optional(),
  env: z.record(envName, envValue).optional(),
  uses: z.array(dnsLabel).optional(),
  config: z.record(objectKey, text('the text of a file', /^/)).optional(),
  volumes: z.record(mountPath, volume).optional(),
  resources: z.strictObject({ requests: amounts.optional(), limits: amounts.optional() }).optional(),
  health: health.optional(),
  terminationGracePeriodSeconds: integer('seconds between 0 and 3600', 0, 3600).optional(),
  allowSecrets: z
    .array(z.strictObject({ rule: filled, path: filled, reason: filled, fingerprint: filled.optional() }))
    .optional(),
}) satisfies z.ZodType<ServiceDefinition>

const services = z.record(dnsLabel, service).refine((value) => Object.keys(value).length > 0, 'at least one service')

const engine = z.enum(Object.keys(ENGINES) as [BackingEngine], ENGINE_TEXT)
const backing = z.strictObject({
  engine,
  version: text('the tag of an image', /^[\w][\w.-]{0,127}$/).optional(),
  image: text('an image reference', /^\S+$/).optional(),
  database: text(
    'the name of a database: letters, digits and "_", starting with a letter, at most 63 characters',
    /^[a-z][a-z0-9_]{0,62}$/i,
  ).optional(),
  storage: quantity.optional(),
  user: integer('a user id from 1 on', 1, 2 ** 31 - 1).optional(),
  resources: z.strictObject({ requests: amounts.optional(), limits: amounts.optional() }).optional(),
}) satisfies z.ZodType<BackingDefinition>

const app = z.strictObject({
  name: dnsLabel.optional(),
  namespace: dnsLabel.optional(),
  services: services.optional(),
  backing: z.record(dnsLabel, z.preprocess(spellOut, backing)).optional(),
}) satisfies z.ZodType<AppDefinition>

/** Checks a definition, and finds every problem at once. */
export function checkDefinition(input: unknown): { definition: AppDefinition } | { problems: Problem[] } {
  const result = app.safeParse(input)
  if (result.success) return { definition: result.data }
  return { problems: result.error.issues.flatMap((issue) => toProblems(issue, input)) }
}

/** `'postgres'` is short for `{ engine: 'postgres' }`. */
function spellOut(value: unknown): unknown {
  return typeof value === 'string' ? { engine: value } : value
}

function text(expected: string, pattern: RegExp): z.ZodCustom<string, string> {
  return z.custom<string>((value) => typeof value === 'string' && pattern.test(value), expected)
}

function integer(expected: string, min: number, max: number): z.ZodCustom<number, number> {
  return z.custom<number>((value) => Number.isInteger(value) && Number(value) >= min && Number(value) <= max, expected)
}

function toProblems(issue: z.core.$ZodIssue, input: unknown): Problem[] {
  const keys = issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key))
  // Of what was spelled out, only the text is in the file.
  const path = typeof valueAt(input, keys.slice(0, -1)) === 'string' ? keys.slice(0, -1) : keys
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => ({ path: [...path, key], text: `is not a known key${didYouMean(key, path)}` }))
    case 'invalid_key':
      return [{ path, text: `is not a valid name, expected ${issue.issues[0]?.message ?? 'another'}` }]
    case 'invalid_type':
      return [{ path, text: `is ${show(valueAt(input, path))}, expected an object` }]
    default:
      return [{ path, text: `is ${show(valueAt(input, path))}, expected ${issue.message}` }]
  }
}

function didYouMean(key: string, path: KeyPath): string {
  const near = suggest(key, knownKeys(path))
  return near === undefined ? `, expected one of ${knownKeys(path).join(', ')}` : `, did you mean "${near}"?`
}

/** Keys of the strict object at `path`; the path comes from an issue of that very object. */
function knownKeys(path: KeyPath): string[] {
  if (path.length === 0) return Object.keys(app.shape)
  if (path.length === 2) return Object.keys(path[0] === 'backing' ? backing.shape : service.shape)
  return path.at(-1) === 'resources' ? ['requests', 'limits'] : Object.keys(amounts.shape)
}

function valueAt(input: unknown, path: KeyPath): unknown {
  let value = input
  for (const key of path) value = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined
  return value
}

function show(value: unknown): string {
  if (typeof value === 'function') return 'a function'
  const json = JSON.stringify(value) ?? 'undefined'
  return json.length > 60 ? `${json.slice(0, 57)}...` : json
}
