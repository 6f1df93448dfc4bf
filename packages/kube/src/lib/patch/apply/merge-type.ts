/** What a value may be for server-side apply; a type of free shape may be any of the three, decided by the value. */
export interface MergeType {
  readonly scalar?: ScalarKind
  readonly list?: MergeList
  readonly map?: MergeMap
}

export type ScalarKind = 'string' | 'numeric' | 'boolean' | 'untyped'

export interface MergeList {
  /** Owned and replaced as a whole. */
  readonly isAtomic: boolean
  /** Names of the fields that tell elements apart; none for a set of scalars. */
  readonly keys: readonly string[]
  readonly element: MergeType
}

export interface MergeMap {
  readonly isAtomic: boolean
  readonly fields: ReadonlyMap<string, MergeField>
  /** Type of values whose key is not among the fields; undefined when there are none but these. */
  readonly element: MergeType | undefined
  /** Fields that are there even when absent in JSON; see {@link MergeField.zero}. */
  readonly present: readonly MergeField[]
}

export interface MergeField {
  readonly name: string
  readonly type: MergeType
  /** Value of a merge key that is absent. */
  readonly default?: unknown
  /**
   * What the field holds when nobody set it and the object it belongs to is there: Go keeps structs by value and writes
   * required scalars. Undefined where absent means absent.
   */
  readonly zero?: unknown
  /** An empty list or map counts as absent: Go leaves it out. */
  readonly omitsEmpty?: boolean
  /** `f:name`, as field sets name it. */
  readonly element: string
}

export const freeScalar: MergeType = { scalar: 'untyped' }

const noFields: ReadonlyMap<string, MergeField> = new Map()

/** A map of any keys. */
export function mapOf(element: MergeType, isAtomic: boolean): MergeMap {
  return { isAtomic, fields: noFields, element, present: [] }
}

interface Open {
  scalar: ScalarKind
  list?: MergeList
  map?: MergeMap
}

/** Any shape, owned as one. */
const untypedAtomic: MergeType = makeUntyped((own) => {
  own.list = { isAtomic: true, keys: [], element: own }
  own.map = mapOf(own, true)
})

/** Any shape of which nothing is known: maps are merged key by key, lists are owned as one. */
export const deducedType: MergeType = makeUntyped((own) => {
  own.list = { isAtomic: true, keys: [], element: untypedAtomic }
  own.map = mapOf(own, false)
})

function makeUntyped(complete: (own: Open) => void): MergeType {
  const own: Open = { scalar: 'untyped' }
  complete(own)
  return own
}

/** The one form of a type that a value has; a null fits any. */
export function narrow(type: MergeType, value: unknown): MergeType {
  const { scalar, list, map } = type
  // Nearly every type has one form only.
  if (scalar === undefined ? list === undefined || map === undefined : list === undefined && map === undefined)
    return type
  if (value === undefined || value === null) return type
  if (Array.isArray(value)) return list === undefined ? type : { list }
  if (typeof value === 'object') return map === undefined ? type : { map }
  return scalar === undefined ? type : { scalar }
}

/** Type of a field or key of a map; undefined when the map knows none. */
export function typeOfKey(map: MergeMap, key: string): MergeType | undefined {
  return map.fields.get(key)?.type ?? map.element
}
