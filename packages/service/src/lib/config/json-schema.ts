import type { StandardIssue, StandardSchema } from '../http/schema.ts'
import type { ConfigOptions } from './options.ts'
import { isRecord, resolveReference } from './spec.ts'
import type { JsonSchema, ValueSpec } from './spec.ts'

/** Name of the keyword that keeps what JSON Schema has no word for. Validators that do not know it leave it alone. */
const word = 'x-fairlead'
const rootWord = 'x-fairlead-config'

/** The JSON Schema (draft 2020-12) of a configuration, with what is needed to check values without the service's code. */
export function renderJsonSchema(spec: ValueSpec, options: ConfigOptions): JsonSchema {
  const { env, dir, files } = options
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    [rootWord]: JSON.parse(JSON.stringify({ env, dir, files })) as unknown,
    ...renderSpec(spec, []),
  }
}

/** The spec and the layers that {@link renderJsonSchema} wrote down. A JSON Schema by others is taken as it is. */
export function parseJsonSchema(schema: JsonSchema): { readonly spec: ValueSpec; readonly options: ConfigOptions } {
  const options = isRecord(schema[rootWord]) ? (schema[rootWord] as ConfigOptions) : {}
  return { spec: parseSpec(schema), options }
}

function renderSpec(spec: ValueSpec, path: readonly string[]): JsonSchema {
  const about = {
    ...(spec.help === undefined ? {} : { description: spec.help }),
    ...(spec.default === undefined || spec.secret === true ? {} : { default: spec.default }),
    ...(spec.secret === true ? { writeOnly: true } : {}),
  }
  if (spec.kind === 'schema') {
    // References in it are to places of its own, so it is a document of its own.
    const id = path.length === 0 ? {} : { $id: `urn:fairlead:config:${path.map(encodeURIComponent).join(':')}` }
    const { $schema: _, ...json } = spec.json ?? {}
    return { ...id, ...json, ...about, [word]: { kind: 'schema', ...marks(spec) } }
  }
  return { ...shapeOf(spec, path), ...about, [word]: { ...flat(spec) } }
}

/** Everything of a spec but what is inside it. */
function flat(spec: ValueSpec): Record<string, unknown> {
  const { of: _of, keys: _keys, help: _help, ...rest } = { of: undefined, keys: undefined, ...spec }
  return rest
}

function marks({ secret, optional }: ValueSpec): Record<string, unknown> {
  return { ...(secret === undefined ? {} : { secret }), ...(optional === undefined ? {} : { optional }) }
}

function shapeOf(spec: Exclude<ValueSpec, { kind: 'schema' }>, path: readonly string[]): JsonSchema {
  switch (spec.kind) {
    case 'text':
      return present({
        type: 'string',
        minLength: spec.minLength,
        maxLength: spec.maxLength,
        pattern: spec.pattern === undefined ? undefined : `^(?:${spec.pattern})$`,
      })
    case 'number':
      return present({ type: spec.isInteger ? 'integer' : 'number', minimum: spec.min, maximum: spec.max })
    case 'boolean':
      return { type: 'boolean' }
    case 'duration':
      return { type: 'string', pattern: '^(0|(\\d+(\\.\\d+)?(ns|us|µs|ms|s|m|h|d))+)$' }
    case 'size':
      return { type: ['string', 'integer'], pattern: '^\\d+(\\.\\d+)?\\s?([bB]|[kKMGT]([bB]|i[bB]?)?)?$', minimum: 0 }
    case 'port':
      return { type: 'integer', minimum: spec.min ?? 1, maximum: 65_535 }
    case 'url':
      return { type: 'string', format: 'uri' }
    case 'choice':
      return { type: 'string', enum: spec.choices }
    case 'list': {
      const items = renderSpec(spec.of, [...path, 'items'])
      return present({ type: 'array', items, minItems: spec.minItems, maxItems: spec.maxItems })
    }
    case 'record':
      return { type: 'object', additionalProperties: renderSpec(spec.of, [...path, 'values']) }
    case 'group': {
      const entries = Object.entries(spec.keys)
      const properties = Object.fromEntries(entries.map(([name, inner]) => [name, renderSpec(inner, [...path, name])]))
      const required = entries.filter(([, inner]) => isRequired(inner)).map(([name]) => name)
      return { type: 'object', properties, required, additionalProperties: false }
    }
  }
}

function isRequired(spec: ValueSpec): boolean {
  if (spec.optional === true || spec.default !== undefined || spec.kind === 'record') return false
  if (spec.kind === 'group') return Object.values(spec.keys).some(isRequired)
  if (spec.kind !== 'schema') return true
  if (spec.json === undefined || spec.json['default'] !== undefined) return false
  const required = spec.json['required']
  return spec.json['type'] !== 'object' || (Array.isArray(required) && required.length > 0)
}

function present(schema: JsonSchema): JsonSchema {
  return Object.fromEntries(Object.entries(schema).filter(([, value]) => value !== undefined))
}

function parseSpec(schema: JsonSchema): ValueSpec {
  const note = schema[word]
  const help = typeof schema['description'] === 'string' ? { help: schema['description'] } : {}
  if (!isRecord(note) || note['kind'] === 'schema') {
    const { [word]: _, [rootWord]: _root, ...json } = schema
    const kept = isRecord(note) ? marks(note as ValueSpec) : {}
    const isOptional =
      isRecord(note) && note['secret'] !== true && json['type'] === undefined && json['$ref'] === undefined
    return {
      ...kept,
      ...help,
      kind: 'schema',
      schema: validatorOf(json),
      ...(isOptional && Object.keys(json).length <= 1 ? {} : { json }),
    }
  }
  const spec = { ...note, ...help } as unknown as ValueSpec
  if (spec.kind === 'list') return { ...spec, of: parseSpec(asSchema(schema['items'])) }
  if (spec.kind === 'record') return { ...spec, of: parseSpec(asSchema(schema['additionalProperties'])) }
  if (spec.kind !== 'group') return spec
  const keys = Object.entries(asSchema(schema['properties'])).map(([name, inner]) => [name, parseSpec(asSchema(inner))])
  return { ...spec, keys: Object.fromEntries(keys) as Record<string, ValueSpec> }
}

function asSchema(value: unknown): JsonSchema {
  return isRecord(value) ? value : {}
}

/** A Standard Schema that holds values against a JSON Schema: the words that schema libraries write, not all there are. */
function validatorOf(json: JsonSchema): StandardSchema {
  return {
    '~standard': {
      version: 1,
      vendor: 'fairlead',
      validate(value) {
        const issues: StandardIssue[] = []
        check(json, value, [], { root: json, issues, depth: 0 })
        return issues.length > 0 ? { issues } : { value }
      },
    },
  }
}

interface Run {
  readonly root: JsonSchema
  readonly issues: StandardIssue[]
  readonly depth: number
}

function check(given: unknown, value: unknown, path: readonly PropertyKey[], run: Run): void {
  const fail = (message: string): void => void run.issues.push({ message, path })
  if (given === false) return fail('no value is permitted here')
  if (!isRecord(given) || run.depth > 64) return
  const json = resolveReference(given, run.root)
  if (value === undefined) {
    const isNeeded = json['type'] !== undefined || json['enum'] !== undefined || json['const'] !== undefined
    return isNeeded && json['default'] === undefined ? fail(`expected ${describe(json)}`) : undefined
  }
  if (!hasType(json['type'], value) || !isAmong(json, value)) return fail(`expected ${describe(json)}`)
  if (typeof value === 'string') checkText(json, value, fail)
  if (typeof value === 'number') checkNumber(json, value, fail)
  const inner = { ...run, depth: run.depth + 1 }
  if (Array.isArray(value)) checkItems(json, value, path, inner, fail)
  if (isRecord(value)) checkProperties(json, value, path, inner)
  for (const part of listOf(json['allOf'])) check(part, value, path, inner)
  for (const choices of [listOf(json['anyOf']), listOf(json['oneOf'])]) {
    if (choices.length === 0) continue
    const fits = choices.some((choice) => passes(choice, value, path, inner))
    if (!fits) fail(`expected ${describe(json)}`)
  }
  if (json['not'] !== undefined && passes(json['not'], value, path, inner)) fail('this value is not permitted')
}

function passes(schema: unknown, value: unknown, path: readonly PropertyKey[], run: Run): boolean {
  const issues: StandardIssue[] = []
  check(schema, value, path, { ...run, issues })
  return issues.length === 0
}

function checkText(json: JsonSchema, value: string, fail: (message: string) => void): void {
  if (value.length < numberOr(json['minLength'], 0)) fail(`expected at least ${String(json['minLength'])} characters`)
  if (value.length > numberOr(json['maxLength'], Infinity))
    fail(`expected at most ${String(json['maxLength'])} characters`)
  if (typeof json['pattern'] === 'string' && !matches(json['pattern'], value))
    fail(`expected a text that matches ${json['pattern']}`)
  if (json['format'] === 'uri' && !URL.canParse(value)) fail('expected a URL')
}

function matches(pattern: string, value: string): boolean {
  try {
    return new RegExp(pattern, 'u').test(value)
  } catch {
    // A pattern of another dialect decides nothing here.
    return true
  }
}

function checkNumber(json: JsonSchema, value: number, fail: (message: string) => void): void {
  if (value < numberOr(json['minimum'], -Infinity)) fail(`expected at least ${String(json['minimum'])}`)
  if (value > numberOr(json['maximum'], Infinity)) fail(`expected at most ${String(json['maximum'])}`)
  if (value <= numberOr(json['exclusiveMinimum'], -Infinity))
    fail(`expected more than ${String(json['exclusiveMinimum'])}`)
  if (value >= numberOr(json['exclusiveMaximum'], Infinity))
    fail(`expected less than ${String(json['exclusiveMaximum'])}`)
  const step = numberOr(json['multipleOf'], 0)
  if (step > 0 && Math.abs(value / step - Math.round(value / step)) > 1e-9) fail(`expected a multiple of ${step}`)
}

function checkItems(
  json: JsonSchema,
  value: readonly unknown[],
  path: readonly PropertyKey[],
  run: Run,
  fail: (message: string) => void,
): void {
  if (value.length < numberOr(json['minItems'], 0)) fail(`expected at least ${String(json['minItems'])} items`)
  if (value.length > numberOr(json['maxItems'], Infinity)) fail(`expected at most ${String(json['maxItems'])} items`)
  const first = listOf(json['prefixItems'])
  for (const [index, item] of value.entries()) check(first[index] ?? json['items'], item, [...path, index], run)
}

function checkProperties(
  json: JsonSchema,
  value: Readonly<Record<string, unknown>>,
  path: readonly PropertyKey[],
  run: Run,
): void {
  const properties = asSchema(json['properties'])
  for (const name of listOf(json['required']).map(String)) {
    const inner = Object.hasOwn(properties, name) ? asSchema(properties[name]) : {}
    if (!Object.hasOwn(value, name) && inner['default'] === undefined)
      run.issues.push({ message: `expected ${describe(resolveReference(inner, run.root))}`, path: [...path, name] })
  }
  for (const [name, item] of Object.entries(value)) {
    const schema = Object.hasOwn(properties, name) ? properties[name] : json['additionalProperties']
    check(schema, item, [...path, name], run)
  }
}

function describe(json: JsonSchema): string {
  const choices = [...listOf(json['anyOf']), ...listOf(json['oneOf'])].map(asSchema)
  if (Array.isArray(json['enum'])) return `one of ${json['enum'].map(String).join(', ')}`
  if (json['const'] !== undefined) return JSON.stringify(json['const'])
  if (choices.length > 0) return [...new Set(choices.map(describe))].join(' or ')
  if (json['format'] === 'uri') return 'a URL'
  return json['type'] === undefined ? 'a value' : [json['type']].flat().map(String).join(' or ')
}

function hasType(type: unknown, value: unknown): boolean {
  if (type === undefined) return true
  return [type].flat().some((name) => {
    if (name === 'array') return Array.isArray(value)
    if (name === 'object') return isRecord(value)
    if (name === 'integer') return Number.isInteger(value)
    if (name === 'null') return value === null
    return typeof value === name
  })
}

function isAmong(json: JsonSchema, value: unknown): boolean {
  if (json['const'] !== undefined && json['const'] !== value) return false
  return !Array.isArray(json['enum']) || json['enum'].includes(value)
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function numberOr(value: unknown, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise
}
