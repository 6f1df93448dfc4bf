import table from './generated/table.json' with { type: 'json' }

/**
 * One field of a definition, with everything the codec, the patches and the OpenAPI documents need to know of it.
 *
 * `list` and `map` say how the value holds elements of `type`; both are true for a map of lists.
 */
export interface FieldInfo {
  readonly name: string
  readonly type: FieldType
  /** Definition of the value or of its elements, when `type` is `object` and the shape is known. */
  readonly ref?: string
  readonly format?: 'int32' | 'int64'
  readonly list: boolean
  readonly map: boolean
  readonly required: boolean
  /** Strategic merge patch: the key that pairs elements of two lists. */
  readonly mergeKey?: string
  /** Strategic merge patch: `merge`, `replace`, `retainKeys`. */
  readonly mergeStrategies?: readonly string[]
  readonly listType?: 'atomic' | 'set' | 'map'
  readonly listMapKeys?: readonly string[]
  readonly mapType?: 'atomic' | 'granular'
  /** Value of an absent field where a schema states one; most defaults are code, not schema. */
  readonly default?: unknown
  /** Protobuf field number; 0 when the field exists in JSON only. */
  readonly number: number
}

export type FieldType =
  | 'string'
  | 'integer'
  | 'number'
  | 'boolean'
  | 'object'
  | 'any'
  | 'intOrString'
  | 'quantity'
  | 'time'
  | 'microTime'
  | 'bytes'
  /** Where a JSON schema may hold a schema or something simpler; `ref` is absent, the value is read as it comes. */
  | 'schemaOrBoolean'
  | 'schemaOrList'
  | 'schemaOrStrings'

/** What one protobuf message holds under a number: a field, or fields of another message written in place. */
export interface InlineInfo {
  readonly inline: string
  readonly number: number
}

const codes: Record<string, { type: FieldType; format?: 'int32' | 'int64' }> = {
  s: { type: 'string' },
  i: { type: 'integer', format: 'int32' },
  l: { type: 'integer', format: 'int64' },
  n: { type: 'number' },
  b: { type: 'boolean' },
  B: { type: 'bytes' },
  q: { type: 'quantity' },
  x: { type: 'intOrString' },
  t: { type: 'time' },
  m: { type: 'microTime' },
  f: { type: 'object' },
  a: { type: 'any' },
  u: { type: 'schemaOrBoolean' },
  v: { type: 'schemaOrList' },
  w: { type: 'schemaOrStrings' },
}

const sources: ReadonlyMap<string, { index: number; text: string }> = new Map(
  table.packages.flatMap(({ name, definitions }, index) =>
    Object.entries(definitions).map(([key, text]) => [`${name}.${key}`, { index, text }] as const),
  ),
)

export const kindLines: readonly string[] = table.kinds
export const bodies: ReadonlyMap<string, string> = new Map(Object.entries(table.bodies))

/** Full definition name of a reference such as `ObjectMeta` (same package) or `0.ObjectMeta` (package by position). */
export function resolveReference(reference: string, home: number): string {
  const dot = reference.indexOf('.')
  const index = dot < 0 ? home : Number(reference.slice(0, dot))
  return `${table.packages[index]?.name}.${reference.slice(dot + 1)}`
}

/**
 * Reads a definition of the generated table. Fields are separated by `;`, each is `name type marks`.
 *
 * A leading `^` stands for `apiVersion` and `kind`, which protobuf does not carry. Type codes: `s` string, `i` int32,
 * `l` int64, `n` float, `b` boolean, `B` bytes, `q` Quantity, `x` IntOrString, `t` Time, `m` MicroTime, `f` free
 * object, `a` anything, `u` `v` `w` a JSON schema or a boolean, a list, strings, `@Name` definition; before them `[` for a list, `{` for a map; after them `!` for required.
 * Marks: `#n` protobuf number (else one more than the previous), `l` list type, `k` list map keys, `p` patch merge
 * key, `s` patch strategies, `m` map type, `d` default. `*Name` is a message inlined in JSON.
 */
export function readDefinition(definition: string): readonly (FieldInfo | InlineInfo)[] {
  const source = sources.get(definition)
  if (source === undefined || source.text === '') return []
  const hasTypeMeta = source.text[0] === '^'
  const text = hasTypeMeta ? source.text.slice(1) : source.text
  const fields: (FieldInfo | InlineInfo)[] = hasTypeMeta ? [typeMetaField('apiVersion'), typeMetaField('kind')] : []
  let number = 0
  for (const part of text === '' ? [] : text.split(';')) {
    const words = part.split(' ')
    const mark = words.find((word) => word[0] === '#')
    number = mark === undefined ? number + 1 : Number(mark.slice(1))
    fields.push(part[0] === '*' ? readInline(words, number, source.index) : readField(words, number, source.index))
  }
  return fields
}

function typeMetaField(name: string): FieldInfo {
  return { name, type: 'string', list: false, map: false, required: false, number: 0 }
}

function readInline([name = '']: string[], number: number, home: number): InlineInfo {
  return { inline: resolveReference(name.slice(1), home), number }
}

function readField([name = '', type = '', ...marks]: string[], number: number, home: number): FieldInfo {
  const match = /^(\{?)(\[?)(@?)([^!]+)(!?)$/.exec(type)
  if (match === null) throw new TypeError(`Cannot read type "${type}" of field "${name}" in the generated table`)
  const [, map, list, isReference, code = '', required] = match
  const base: { type: FieldType; format?: 'int32' | 'int64'; ref?: string } =
    isReference === '' ? (codes[code] ?? { type: 'any' }) : { type: 'object', ref: resolveReference(code, home) }
  return {
    name,
    ...base,
    list: list !== '',
    map: map !== '',
    required: required !== '',
    number,
    ...(list !== '' && map === '' ? { listType: 'atomic' as const } : {}),
    ...readMarks(marks),
  }
}

function readMarks(marks: string[]): Partial<FieldInfo> {
  const read: { -readonly [K in keyof FieldInfo]?: FieldInfo[K] } = {}
  for (const mark of marks) {
    const value = mark.slice(2)
    if (mark.startsWith('l=')) read.listType = 'set'
    if (mark.startsWith('k=')) {
      read.listType = 'map'
      read.listMapKeys = value.split(',')
    }
    if (mark.startsWith('p=')) {
      read.mergeKey = value
      read.mergeStrategies ??= ['merge']
    }
    if (mark.startsWith('s=')) read.mergeStrategies = value.split(',')
    if (mark.startsWith('m=')) read.mapType = value === 'atomic' ? 'atomic' : 'granular'
    if (mark.startsWith('d=')) read.default = JSON.parse(value)
  }
  return read
}
