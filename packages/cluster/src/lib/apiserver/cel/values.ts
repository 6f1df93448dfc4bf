/** An expression that failed while it ran. */
export class CelError extends Error {}

/** The cost of running an expression went beyond what it may cost. */
export class CelBudgetError extends Error {
  constructor() {
    super('operation cancelled: actual cost limit exceeded')
  }
}

export class Uint {
  readonly value: bigint
  constructor(value: bigint) {
    this.value = value
  }
}

export class Timestamp {
  /** Since 1970. */
  readonly nanos: bigint
  constructor(nanos: bigint) {
    this.nanos = nanos
  }
}

export class Duration {
  readonly nanos: bigint
  constructor(nanos: bigint) {
    this.nanos = nanos
  }
}

export class Optional {
  readonly value: Value | undefined
  constructor(value: Value | undefined) {
    this.value = value
  }
}

export class TypeValue {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}

/** A value only the functions of one extension know: a quantity, an address, a decision. */
export abstract class Opaque {
  abstract readonly typeName: string
  /** What costs are counted by. */
  readonly size: number = 1
  abstract equals(other: Opaque): boolean
  toText(): string | undefined {
    return undefined
  }
}

export class CelMap {
  readonly #entries = new Map<string, readonly [Value, Value]>()

  constructor(entries: Iterable<readonly [Value, Value]> = []) {
    for (const [key, value] of entries) this.#entries.set(keyOf(key), [key, value])
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: Value): Value | undefined {
    return this.#entries.get(keyOf(key))?.[1]
  }

  entries(): Iterable<readonly [Value, Value]> {
    return this.#entries.values()
  }
}

/** An object of a known type; its fields are read when asked for. */
export class CelObject {
  readonly typeName: string
  readonly #data: Readonly<Record<string, unknown>>
  readonly #fields: ReadonlyMap<string, (value: unknown) => Value>
  readonly #names: ReadonlyMap<string, string>
  readonly #read = new Map<string, Value>()

  /** `names` gives the key in the data for the name of a field where they differ. */
  constructor(
    typeName: string,
    data: Readonly<Record<string, unknown>>,
    fields: ReadonlyMap<string, (value: unknown) => Value>,
    names: ReadonlyMap<string, string>,
  ) {
    this.typeName = typeName
    this.#data = data
    this.#fields = fields
    this.#names = names
  }

  get data(): Readonly<Record<string, unknown>> {
    return this.#data
  }

  has(field: string): boolean {
    const key = this.#names.get(field) ?? field
    return this.#fields.has(field) && Object.hasOwn(this.#data, key)
  }

  get(field: string): Value | undefined {
    if (!this.has(field)) return undefined
    let value = this.#read.get(field)
    if (value === undefined) {
      value = this.#fields.get(field)?.(this.#data[this.#names.get(field) ?? field]) ?? null
      this.#read.set(field, value)
    }
    return value
  }

  fields(): string[] {
    return [...this.#fields.keys()].filter((field) => this.has(field))
  }
}

export type Value =
  | bigint
  | Uint
  | number
  | string
  | boolean
  | null
  | Uint8Array
  | readonly Value[]
  | CelMap
  | CelObject
  | Timestamp
  | Duration
  | Optional
  | TypeValue
  | Opaque

/** Lists whose order does not matter: equal elements are found by these. */
export const unordered: WeakMap<readonly Value[], { readonly keys: readonly string[] | undefined }> = new WeakMap()

function keyOf(key: Value): string {
  if (typeof key === 'bigint') return `n${key}`
  if (key instanceof Uint) return `n${key.value}`
  if (typeof key === 'number' && Number.isInteger(key)) return `n${key}`
  return typeof key === 'string' || typeof key === 'boolean' ? `${typeof key}${key}` : 'other'
}

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value)
}

export function typeOf(value: Value): string {
  if (value === null) return 'null_type'
  if (typeof value === 'bigint') return 'int'
  if (typeof value === 'number') return 'double'
  if (typeof value === 'string') return 'string'
  if (typeof value === 'boolean') return 'bool'
  if (isList(value)) return 'list'
  if (value instanceof Uint) return 'uint'
  if (value instanceof Uint8Array) return 'bytes'
  if (value instanceof CelMap) return 'map'
  if (value instanceof Timestamp) return 'google.protobuf.Timestamp'
  if (value instanceof Duration) return 'google.protobuf.Duration'
  if (value instanceof Optional) return 'optional_type'
  return value instanceof TypeValue ? 'type' : value.typeName
}

export function equals(a: Value, b: Value): boolean {
  if (a === b) return true
  const [x, y] = [numberOf(a), numberOf(b)]
  if (x !== undefined && y !== undefined) return typeof x === typeof y ? x === y : Number(x) === Number(y)
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return false
  if (isList(a)) return isList(b) && equalLists(a, b)
  if (a instanceof CelMap) return b instanceof CelMap && equalMaps(a, b)
  if (a instanceof CelObject) return b instanceof CelObject && equalObjects(a, b)
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.compare(a, b) === 0
  if (a instanceof Timestamp) return b instanceof Timestamp && a.nanos === b.nanos
  if (a instanceof Duration) return b instanceof Duration && a.nanos === b.nanos
  if (a instanceof TypeValue) return b instanceof TypeValue && a.name === b.name
  if (a instanceof Opaque) return b instanceof Opaque && a.typeName === b.typeName && a.equals(b)
  if (!(a instanceof Optional) || !(b instanceof Optional)) return false
  return a.value === undefined || b.value === undefined ? a.value === b.value : equals(a.value, b.value)
}

export function numberOf(value: Value): bigint | number | undefined {
  if (typeof value === 'bigint' || typeof value === 'number') return value
  return value instanceof Uint ? value.value : undefined
}

function equalLists(a: readonly Value[], b: readonly Value[]): boolean {
  if (a.length !== b.length) return false
  const order = unordered.get(a) ?? unordered.get(b)
  if (order === undefined) return a.every((item, index) => equals(item, b[index] as Value))
  return a.every((item) => b.some((other) => equals(item, other)))
}

function equalMaps(a: CelMap, b: CelMap): boolean {
  if (a.size !== b.size) return false
  for (const [key, value] of a.entries()) {
    const other = b.get(key)
    if (other === undefined || !equals(value, other)) return false
  }
  return true
}

function equalObjects(a: CelObject, b: CelObject): boolean {
  const fields = a.fields()
  if (fields.length !== b.fields().length) return false
  return fields.every((field) => b.has(field) && equals(a.get(field) as Value, b.get(field) as Value))
}

/** Less than zero, zero, more than zero; undefined for values that have no order. */
export function compare(a: Value, b: Value): number | undefined {
  const [x, y] = [numberOf(a), numberOf(b)]
  if (x !== undefined && y !== undefined) return typeof x === typeof y ? order(x, y) : order(Number(x), Number(y))
  if (typeof a === 'string' && typeof b === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b))
  if (typeof a === 'boolean' && typeof b === 'boolean') return Number(a) - Number(b)
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b)
  const both = (a instanceof Timestamp && b instanceof Timestamp) || (a instanceof Duration && b instanceof Duration)
  if (!both) return undefined
  return a.nanos < b.nanos ? -1 : a.nanos > b.nanos ? 1 : 0
}

/** An int and a double compare as doubles, as upstream does it: 2^63 - 1 is not less than 2^63. */
function order(a: bigint | number, b: bigint | number): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Length of a text in code points. */
export function textLength(text: string): number {
  let length = text.length
  for (let at = 0; at < text.length; at += 1) if ((text.charCodeAt(at) & 0xfc00) === 0xdc00) length -= 1
  return length
}

/** What costs are counted by: characters, bytes, elements; 1 for everything else. */
export function sizeOf(value: Value): number {
  if (typeof value === 'string') return textLength(value)
  if (value instanceof Uint8Array || isList(value)) return value.length
  if (value instanceof CelMap || value instanceof Opaque) return value.size
  return value instanceof Optional && value.value !== undefined ? sizeOf(value.value) : 1
}

/** JSON without a schema: whole numbers are ints. */
export function fromJson(value: unknown): Value {
  if (typeof value === 'bigint') return value
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value
  if (Array.isArray(value)) return value.map(fromJson)
  if (typeof value === 'object' && value !== null) {
    return new CelMap(Object.entries(value).map(([key, child]) => [key, fromJson(child)]))
  }
  return typeof value === 'string' || typeof value === 'boolean' ? value : null
}
