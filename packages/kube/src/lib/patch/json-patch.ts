import { renderExactJson } from '../codec/exact-json.ts'
import { malformedPatch, unappliablePatch } from '../errors.ts'
import { cloneJson, equalJson, getKey, isJsonObject, setKey } from './json-value.ts'

/** The most operations the Kubernetes API server takes in one patch. */
export const maxJsonPatchOperations = 10_000

/** As the API server: a few operations must not become a document of any size. */
const maxCopiedBytes = 3 << 20

/** One operation of RFC 6902. */
export type JsonPatchOperation =
  | { op: 'add' | 'replace' | 'test'; path: string; value: unknown }
  | { op: 'remove'; path: string }
  | { op: 'move' | 'copy'; from: string; path: string }

/**
 * Applies an RFC 6902 patch and returns the new document; the given one is not touched.
 *
 * Where Kubernetes does it in another way, so does this: `replace` sets keys that are not there, `test` takes a missing key
 * for null, negative indexes count from the end, and neither `add` nor `remove` reaches the document itself. Messages are
 * those of Kubernetes (evanphx/json-patch v4).
 *
 * Throws `TypeError` for what is no patch and `RangeError` for a patch that does not fit the document (missing path, failed
 * test), both with code FAIRLEAD_KUBE_PATCH. Nothing is applied then.
 */
export function applyJsonPatch(document: unknown, operations: unknown): unknown {
  const state = { document: cloneJson(document), copiedBytes: 0 }
  for (const operation of parseOperations(operations)) applyOperation(state, operation)
  return state.document
}

type Operation = Readonly<Record<string, unknown>>

function parseOperations(operations: unknown): Operation[] {
  if (operations === null) return []
  if (!Array.isArray(operations)) throw malformedPatch(unmarshalError(operations, 'jsonpatch.Patch'))
  if (operations.length > maxJsonPatchOperations) {
    const allowed = `The allowed maximum operations in a JSON patch is ${maxJsonPatchOperations}`
    throw malformedPatch(`${allowed}, got ${operations.length}`)
  }
  return operations.map((each: unknown) => {
    if (!isJsonObject(each) && each !== null) throw malformedPatch(unmarshalError(each, 'jsonpatch.Operation'))
    return each ?? {}
  })
}

interface State {
  document: unknown
  copiedBytes: number
}

function applyOperation(state: State, operation: Operation): void {
  const { op } = operation
  const apply = typeof op === 'string' && Object.hasOwn(kinds, op) ? kinds[op] : undefined
  if (apply === undefined) throw unappliablePatch(`Unexpected kind: ${typeof op === 'string' ? op : 'unknown'}`)
  apply(state, operation)
}

const kinds: Readonly<Record<string, (state: State, operation: Operation) => void>> = {
  add(state, operation) {
    const path = pointerIn(operation, 'path', 'add operation failed to decode path', 'missing value')
    const place = find(state, path, `add operation does not apply: doc is missing path: "${path}"`)
    within(`error in add for path: '${path}'`, () => add(place, cloneJson(valueOf(operation))))
  },
  remove(state, operation) {
    const path = pointerIn(operation, 'path', 'remove operation failed to decode path', 'missing value')
    const place = find(state, path, `remove operation does not apply: doc is missing path: "${path}"`)
    within(`error in remove for path: '${path}'`, () => remove(place))
  },
  replace(state, operation) {
    const path = pointerIn(operation, 'path', 'replace operation failed to decode path')
    const value = cloneJson(valueOf(operation))
    if (path === '') {
      const isWhole = Array.isArray(value) || isJsonObject(value)
      if (!isWhole) throw unappliablePatch('replace operation value must be object or array')
      state.document = value
      return
    }
    const place = find(state, path, `replace operation does not apply: doc is missing path: ${path}`)
    const missing = `replace operation does not apply: doc is missing key: ${path}: missing value`
    replace(place, value, missing)
  },
  move(state, operation) {
    const from = pointerIn(operation, 'from', 'move operation failed to decode from')
    const source = find(state, from, `move operation does not apply: doc is missing from path: ${from}`)
    const value = within(`error in move for path: '${source.key}'`, () => remove(source))
    const path = pointerIn(operation, 'path', 'move operation failed to decode path')
    const place = find(state, path, `move operation does not apply: doc is missing destination path: ${path}`)
    within(`error in move for path: '${path}'`, () => add(place, value))
  },
  test(state, operation) {
    const path = pointerIn(operation, 'path', 'test operation failed to decode path')
    if (!equalJson(tested(state, path) ?? null, valueOf(operation))) {
      throw unappliablePatch(`testing value ${path} failed: test failed`)
    }
  },
  copy(state, operation) {
    const from = pointerIn(operation, 'from', 'copy operation failed to decode from')
    const source = find(state, from, `copy operation does not apply: doc is missing from path: ${from}`)
    const value = within(`error in copy for from: '${from}'`, () => read(source)) ?? null
    const path = pointerIn(operation, 'path', 'copy operation failed to decode path', 'missing value')
    const place = find(state, path, `copy operation does not apply: doc is missing destination path: ${path}`)
    state.copiedBytes += Buffer.byteLength(renderExactJson(value))
    if (state.copiedBytes > maxCopiedBytes) {
      const increase = `the accumulated size increase of copy is ${state.copiedBytes}`
      throw unappliablePatch(`Unable to complete the copy, ${increase}, exceeding the limit ${maxCopiedBytes}`)
    }
    within('error while adding value during copy', () => add(place, cloneJson(value)))
  },
}

function tested(state: State, path: string): unknown {
  if (path === '') return state.document
  const place = find(state, path, `test operation does not apply: is missing path: ${path}`)
  return within(`error in test for path: '${path}'`, () => read(place))
}

/** JSON has no undefined: a missing value is a slip of the author, except that Go clients drop a null. */
function valueOf({ value }: Operation): unknown {
  return value ?? null
}

function pointerIn(operation: Operation, field: 'path' | 'from', complaint: string, always?: string): string {
  const value = operation[field] ?? undefined
  if (typeof value === 'string') return value
  const missing = field === 'path' ? 'operation missing path field' : 'operation, missing from field'
  const why = value === undefined ? `${missing}: missing value` : unmarshalError(value, 'string')
  throw unappliablePatch(`${complaint}: ${always ?? why}`)
}

/** A place in a document: what holds it, and its key or index there. */
interface Place {
  readonly holder: unknown[] | Record<string, unknown>
  readonly key: string
}

/** Follows an RFC 6901 pointer to its last token; what stands before the first "/" says nothing. */
function find({ document }: State, pointer: string, complaint: string): Place {
  const tokens = pointer.split('/').slice(1).map(decodeToken)
  const key = tokens.pop()
  let holder = document
  for (const token of tokens) holder = childOf(holder, token)
  if (key === undefined || (!Array.isArray(holder) && !isJsonObject(holder))) {
    throw unappliablePatch(`${complaint}: missing value`)
  }
  return { holder, key }
}

function decodeToken(token: string): string {
  return token.includes('~') ? token.replaceAll('~1', '/').replaceAll('~0', '~') : token
}

function childOf(holder: unknown, token: string): unknown {
  if (!Array.isArray(holder)) return isJsonObject(holder) ? getKey(holder, token) : undefined
  const index = integerIn(token)
  return index === undefined ? undefined : holder.at(index)
}

function read({ holder, key }: Place): unknown {
  return Array.isArray(holder) ? holder[existingIndex(holder, key)] : getKey(holder, key)
}

function add({ holder, key }: Place, value: unknown): void {
  if (!Array.isArray(holder)) return setKey(holder, key, value)
  if (key === '-') return void holder.push(value)
  if (integerIn(key) === undefined) {
    throw unappliablePatch(`value was not a proper array index: '${key}': ${notAnInteger(key)}`)
  }
  holder.splice(indexWithin(holder.length + 1, key), 0, value)
}

function replace({ holder, key }: Place, value: unknown, missing: string): void {
  if (!Array.isArray(holder)) return setKey(holder, key, value)
  const index = integerIn(key)
  if (index === undefined || index >= holder.length || index < -holder.length) throw unappliablePatch(missing)
  holder[index < 0 ? index + holder.length : index] = value
}

function remove({ holder, key }: Place): unknown {
  if (Array.isArray(holder)) return holder.splice(existingIndex(holder, key), 1)[0]
  if (!Object.hasOwn(holder, key)) throw unappliablePatch(`Unable to remove nonexistent key: ${key}: missing value`)
  const removed = holder[key]
  delete holder[key]
  return removed
}

function existingIndex(list: readonly unknown[], key: string): number {
  if (integerIn(key) === undefined) throw unappliablePatch(notAnInteger(key))
  return indexWithin(list.length, key)
}

/** An index of a list of so many elements; negative ones count from its end. */
function indexWithin(length: number, key: string): number {
  const index = Number(key)
  if (index < length && index >= -length) return index < 0 ? index + length : index
  throw unappliablePatch(`Unable to access invalid index: ${index}: invalid index referenced`)
}

function integerIn(token: string): number | undefined {
  return /^[+-]?\d{1,18}$/.test(token) ? Number(token) : undefined
}

function notAnInteger(token: string): string {
  const why = /^[+-]?\d+$/.test(token) ? 'value out of range' : 'invalid syntax'
  return `strconv.Atoi: parsing ${JSON.stringify(token)}: ${why}`
}

/** Says where it was when something cannot be done. */
function within<T>(place: string, act: () => T): T {
  try {
    return act()
  } catch (error) {
    throw unappliablePatch(`${place}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** What Go's decoder says of a JSON value that is of another type than `wanted`. */
function unmarshalError(value: unknown, wanted: string): string {
  const found = Array.isArray(value) ? 'array' : typeof value === 'boolean' ? 'bool' : typeof value
  return `json: cannot unmarshal ${found} into Go value of type ${wanted}`
}
