import { schemaUndescribed } from './errors.ts'
import type { StandardSchema } from './schema.ts'

/** JSON Schema, draft 2020-12, which is that of OpenAPI 3.1. */
export type JsonSchema = Readonly<Record<string, unknown>>

/** What Standard Schema 1.1 calls a Standard JSON Schema: zod 4.2, arktype 2.2 and others have it of themselves. */
interface Described {
  readonly jsonSchema: Readonly<
    Record<'input' | 'output', (options: { readonly target: string; readonly libraryOptions?: object }) => JsonSchema>
  >
}

/** Of what a request has to bring (`input`), or of what comes out of an answer (`output`). */
export type Side = 'input' | 'output'

/**
 * The schema as JSON Schema. Valibot's are converted by @valibot/to-json-schema, if that is installed.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_OPENAPI` for a schema that cannot say what it is.
 */
export async function toJsonSchema(schema: StandardSchema, side: Side, place: string): Promise<JsonSchema> {
  const described = await describe(schema, place)
  try {
    return described.jsonSchema[side]({ target: 'draft-2020-12' })
  } catch (cause) {
    throw schemaUndescribed(place, cause)
  }
}

async function describe(schema: StandardSchema, place: string): Promise<Described> {
  const standard = schema['~standard']
  if ('jsonSchema' in standard) return standard as unknown as Described
  if (standard.vendor !== 'valibot') throw schemaUndescribed(place, undefined, standard.vendor)
  try {
    const { toStandardJsonSchema } = await import('@valibot/to-json-schema')
    // Its vendor says that it is one of valibot's.
    return toStandardJsonSchema(schema as never)['~standard'] as unknown as Described
  } catch (cause) {
    throw schemaUndescribed(place, cause, standard.vendor)
  }
}

/** Puts the definitions inside a schema, and the schema itself if it is its own part, where all schemas of a document find them. */
export function hoistDefinitions(schema: JsonSchema, name: string, components: Map<string, JsonSchema>): JsonSchema {
  const { $schema: _dialect, $defs = {}, ...rest } = schema
  const names = new Map<string, string>()
  for (const [key, definition] of Object.entries($defs as Record<string, JsonSchema>))
    names.set(`#/$defs/${key}`, freeName(key, definition, components))
  const isRecursive = refersTo(schema, '#')
  if (isRecursive) names.set('#', freeName(name, rest, components))
  for (const [key, definition] of Object.entries($defs as Record<string, JsonSchema>))
    components.set(names.get(`#/$defs/${key}`) ?? key, rewrite(definition, names) as JsonSchema)
  const whole = rewrite(rest, names) as JsonSchema
  if (!isRecursive) return whole
  const own = names.get('#') ?? name
  components.set(own, whole)
  return { $ref: `#/components/schemas/${own}` }
}

/** The same name twice is the same thing when it looks the same, else it is numbered. */
function freeName(wanted: string, definition: JsonSchema, components: ReadonlyMap<string, JsonSchema>): string {
  const base = wanted.replaceAll(/[^A-Za-z0-9._-]/g, '_')
  for (let count = 1; ; count++) {
    const name = count === 1 ? base : `${base}${count}`
    const before = components.get(name)
    if (before === undefined || JSON.stringify(before) === JSON.stringify(rewrite(definition, new Map()))) return name
  }
}

function refersTo(value: unknown, target: string): boolean {
  if (typeof value !== 'object' || value === null) return false
  return Object.entries(value).some(([key, member]) => (key === '$ref' ? member === target : refersTo(member, target)))
}

function rewrite(value: unknown, names: ReadonlyMap<string, string>): unknown {
  if (Array.isArray(value)) return value.map((item) => rewrite(item, names))
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, member]) => {
    const name = key === '$ref' && typeof member === 'string' ? names.get(member) : undefined
    return [key, name === undefined ? rewrite(member, names) : `#/components/schemas/${name}`]
  })
  return Object.fromEntries(entries) as unknown
}
