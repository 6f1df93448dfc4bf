import facts from './facts.json' with { type: 'json' }
import { fieldsOf } from '../../types/fields.ts'
import { deducedType, freeScalar, mapOf } from './merge-type.ts'
import type { FieldInfo } from '../../types/notation.ts'
import type { MergeField, MergeType } from './merge-type.ts'

const atomic: ReadonlySet<string> = new Set(facts.atomic)
const present: ReadonlyMap<string, string> = new Map(Object.entries(facts.present))
const defaults: ReadonlyMap<string, Record<string, unknown>> = new Map(Object.entries(facts.defaults))
const pointers: ReadonlyMap<string, string> = new Map(Object.entries(facts.pointers))
const written: ReadonlyMap<string, string> = new Map(Object.entries(facts.written))
const types = new Map<string, MergeType>()

/** How objects of a definition of the type table are merged; made at first use. */
export function mergeTypeOf(definition: string): MergeType {
  const known = types.get(definition)
  if (known !== undefined) return known
  const fields = new Map<string, MergeField>()
  const always: MergeField[] = []
  const type: MergeType = {
    map: { isAtomic: atomic.has(definition), fields, element: undefined, present: always },
  }
  // Before its fields: definitions refer to themselves.
  types.set(definition, type)
  const kept = {
    byValue: namesIn(present, definition),
    byPointer: namesIn(pointers, definition),
    written: namesIn(written, definition),
  }
  for (const info of fieldsOf(definition).values()) {
    const keyDefault = defaults.get(definition)?.[info.name]
    const field = fieldFrom(info, zeroIn(kept, info, keyDefault), keyDefault)
    fields.set(info.name, field)
    if (field.zero !== undefined) always.push(field)
  }
  return type
}

function namesIn(table: ReadonlyMap<string, string>, definition: string): ReadonlySet<string> {
  return new Set((table.get(definition) ?? '').split(','))
}

/** How Go keeps the fields of a definition. */
interface Kept {
  readonly byValue: ReadonlySet<string>
  readonly byPointer: ReadonlySet<string>
  readonly written: ReadonlySet<string>
}

function zeroIn({ byValue, byPointer, written: always }: Kept, info: FieldInfo, keyDefault: unknown): unknown {
  if (byValue.has(info.name)) return {}
  if (always.has(info.name)) return keyDefault
  return byPointer.has(info.name) ? undefined : zeroOf(info)
}

function fieldFrom(info: FieldInfo, zero: unknown, keyDefault: unknown): MergeField {
  const fallback = keyDefault ?? info.default ?? (isScalarZero(zero) ? zero : undefined)
  return {
    name: info.name,
    type: typeOfField(info),
    element: `f:${info.name}`,
    ...((info.list || info.map) && !info.required ? { omitsEmpty: true } : {}),
    ...(zero === undefined ? {} : { zero }),
    ...(fallback === undefined ? {} : { default: fallback }),
  }
}

/** Go writes a required field even when it is empty: a nil list or pointer as null. */
function zeroOf({ required, list, map, type }: FieldInfo): unknown {
  if (!required) return undefined
  if (list || map) return null
  const zeros: Partial<Record<FieldInfo['type'], unknown>> = { string: '', integer: 0, number: 0, boolean: false }
  return zeros[type] ?? null
}

function isScalarZero(zero: unknown): boolean {
  return zero !== null && typeof zero !== 'object'
}

function typeOfField(info: FieldInfo): MergeType {
  const value = typeOfValue(info)
  if (info.map) {
    const element = info.list ? { list: { isAtomic: true, keys: [], element: value } } : value
    return { map: mapOf(element, info.mapType === 'atomic') }
  }
  if (info.list) {
    const isAtomic = info.listType !== 'set' && info.listType !== 'map'
    return { list: { isAtomic, keys: info.listMapKeys ?? [], element: value } }
  }
  // A field may say otherwise than its definition.
  if (info.mapType === 'granular' && value.map?.isAtomic === true) return { map: { ...value.map, isAtomic: false } }
  if (info.mapType === 'atomic' && value.map !== undefined && !value.map.isAtomic) {
    return { map: { ...value.map, isAtomic: true } }
  }
  return value
}

function typeOfValue({ type, ref }: FieldInfo): MergeType {
  if (ref !== undefined) return mergeTypeOf(ref)
  switch (type) {
    case 'string':
    case 'bytes':
      return { scalar: 'string' }
    case 'integer':
    case 'number':
      return { scalar: 'numeric' }
    case 'boolean':
      return { scalar: 'boolean' }
    case 'quantity':
    case 'intOrString':
    case 'time':
    case 'microTime':
      return freeScalar
    case 'object':
      return { map: mapOf(deducedType, false) }
    default:
      return deducedType
  }
}
