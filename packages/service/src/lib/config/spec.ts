import type { StandardSchema } from '../http/schema.ts'

/** A JSON Schema document or a part of one, draft 2020-12. */
export type JsonSchema = Readonly<Record<string, unknown>>

/**
 * What a value must be, as plain data: it is kept in the exported JSON Schema (`x-fairlead`), so that a value can be
 * checked where the service's code is not. Only `schema` is not data; a JSON Schema takes its place there.
 */
export type ValueSpec = {
  /** Used where no layer has the value; written as a layer would write it (`"5s"`). */
  readonly default?: unknown
  readonly optional?: boolean | undefined
  /** The value becomes a `Secret`, and no message shows it. */
  readonly secret?: boolean | undefined
  /** One sentence for the person who sets it. */
  readonly help?: string | undefined
} & (
  | {
      readonly kind: 'text'
      readonly minLength?: number | undefined
      readonly maxLength?: number | undefined
      readonly pattern?: string | undefined
    }
  | {
      readonly kind: 'number'
      readonly isInteger?: boolean | undefined
      readonly min?: number | undefined
      readonly max?: number | undefined
    }
  | { readonly kind: 'boolean' }
  /** Milliseconds. */
  | { readonly kind: 'duration'; readonly min?: string | undefined; readonly max?: string | undefined }
  /** Bytes. */
  | { readonly kind: 'size'; readonly min?: string | undefined; readonly max?: string | undefined }
  | { readonly kind: 'port'; readonly min?: number | undefined }
  | { readonly kind: 'url'; readonly protocols?: readonly string[] | undefined }
  | { readonly kind: 'choice'; readonly choices: readonly string[] }
  | {
      readonly kind: 'list'
      readonly of: ValueSpec
      readonly minItems?: number | undefined
      readonly maxItems?: number | undefined
    }
  | { readonly kind: 'record'; readonly of: ValueSpec }
  | { readonly kind: 'group'; readonly keys: Readonly<Record<string, ValueSpec>> }
  | { readonly kind: 'schema'; readonly schema: StandardSchema; readonly json?: JsonSchema | undefined }
)

/** What is inside a value, as far as names are concerned. */
export interface Inside {
  /** Names that are known. */
  readonly keys: ReadonlyMap<string, ValueSpec>
  /** Whether other names are permitted, and what they hold. */
  readonly others: ValueSpec | undefined
}

/** Anything at all. */
const anything: ValueSpec = {
  kind: 'schema',
  schema: { '~standard': { version: 1, vendor: 'fairlead', validate: (value) => ({ value }) } },
}

/** The names below a value; undefined for one that has none. */
export function insideOf(spec: ValueSpec): Inside | undefined {
  if (spec.kind === 'group') return { keys: new Map(Object.entries(spec.keys)), others: undefined }
  if (spec.kind === 'record') return { keys: new Map(), others: spec.of }
  if (spec.kind !== 'schema') return undefined
  if (spec.json === undefined) return { keys: new Map(), others: anything }
  return insideOfJson(spec.json, spec.json, 0)
}

/** Whether a text stands for several values: `a,b`, `a=1,b=2` or a document. */
export function isStructured(spec: ValueSpec): boolean {
  if (spec.kind === 'list' || spec.kind === 'record' || spec.kind === 'group') return true
  if (spec.kind !== 'schema' || spec.json === undefined) return false
  const type = resolveReference(spec.json, spec.json)['type']
  return type === 'object' || type === 'array'
}

/** A `$ref` to another place of the same document, followed. */
export function resolveReference(json: JsonSchema, root: JsonSchema): JsonSchema {
  let found: unknown = json
  for (let steps = 0; steps < 32; steps++) {
    if (!isRecord(found) || typeof found['$ref'] !== 'string') break
    found = lookUp(root, found['$ref'])
  }
  return isRecord(found) ? found : {}
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function lookUp(root: JsonSchema, reference: string): unknown {
  if (!reference.startsWith('#')) return undefined
  const steps = reference.slice(1).split('/').slice(1)
  return steps.reduce<unknown>((value, step) => {
    const key = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~')
    return isRecord(value) && Object.hasOwn(value, key) ? value[key] : undefined
  }, root)
}

function insideOfJson(given: JsonSchema, root: JsonSchema, depth: number): Inside | undefined {
  if (depth > 16) return { keys: new Map(), others: anything }
  const json = resolveReference(given, root)
  const keys = new Map<string, ValueSpec>()
  let others: ValueSpec | undefined
  let isObject = json['type'] === 'object'
  if (isRecord(json['properties'])) {
    isObject = true
    for (const [name, part] of Object.entries(json['properties'])) keys.set(name, specOfJson(part, root))
  }
  const additional = json['additionalProperties']
  if (additional !== undefined && additional !== false) {
    isObject = true
    others = specOfJson(additional, root)
  }
  for (const word of ['allOf', 'anyOf', 'oneOf']) {
    const parts = json[word]
    if (!Array.isArray(parts)) continue
    for (const part of parts) {
      const inside = isRecord(part) ? insideOfJson(part, root, depth + 1) : undefined
      if (inside === undefined) continue
      isObject = true
      for (const [name, spec] of inside.keys) keys.set(name, spec)
      others ??= inside.others
    }
  }
  if (isObject) return { keys, others }
  // A schema without a word about its type may be anything.
  const isOpen = ['type', 'enum', 'const', '$ref', 'anyOf', 'oneOf'].every((word) => json[word] === undefined)
  return isOpen ? { keys, others: anything } : undefined
}

/** A part of a foreign schema. It is never validated by itself, so its `schema` takes everything. */
function specOfJson(part: unknown, root: JsonSchema): ValueSpec {
  if (!isRecord(part)) return anything
  // References go on being looked up in the whole.
  const json: JsonSchema = { ...resolveReference(part, root), ...definitionsOf(root) }
  return {
    ...anything,
    kind: 'schema',
    schema: anything.kind === 'schema' ? anything.schema : (undefined as never),
    json,
    ...(part['default'] === undefined ? {} : { default: part['default'] }),
    ...(typeof part['description'] === 'string' ? { help: part['description'] } : {}),
  }
}

function definitionsOf(root: JsonSchema): JsonSchema {
  return Object.fromEntries(
    ['$defs', 'definitions'].flatMap((name) => (isRecord(root[name]) ? [[name, root[name]]] : [])),
  )
}
