import { malformedPatch, unappliablePatch } from '../errors.ts'
import { cloneJson, equalJson, isJsonObject, setKey } from './json-value.ts'

/** The same bounds the Kubernetes API server sets: a few operations must not become a document of any size. */
const maxOperations = 10_000
const maxCopiedValues = 100_000

/** One operation of RFC 6902. */
export type JsonPatchOperation =
  | { op: 'add' | 'replace' | 'test'; path: string; value: unknown }
  | { op: 'remove'; path: string }
  | { op: 'move' | 'copy'; from: string; path: string }

/**
 * Applies an RFC 6902 patch and returns the new document; the given one is not touched.
 *
 * Throws `TypeError` for operations that are no patch and `RangeError` for a patch that does not fit the document
 * (missing path, failed test), both with code FAIRLEAD_KUBE_PATCH. Nothing is applied then.
 */
export function applyJsonPatch(document: unknown, operations: unknown): unknown {
  const parsed = parseOperations(operations)
  const root = { '': cloneJson(document) }
  const budget = { copied: 0 }
  for (const [index, operation] of parsed.entries()) applyOperation(root, operation, index, budget)
  return root['']
}

function parseOperations(operations: unknown): JsonPatchOperation[] {
  if (!Array.isArray(operations)) throw malformedPatch('JSON patch', 'it is not a list of operations')
  if (operations.length > maxOperations) {
    throw malformedPatch('JSON patch', `it has ${operations.length} operations, expected at most ${maxOperations}`)
  }
  return operations.map(parseOperation)
}

function parseOperation(value: unknown, index: number): JsonPatchOperation {
  const place = `JSON patch operation ${index}`
  if (!isJsonObject(value)) throw malformedPatch(place, 'it is not an object')
  const { op, path, from } = value
  if (typeof path !== 'string') throw malformedPatch(place, 'it has no path')
  switch (op) {
    case 'remove':
      return { op, path }
    case 'add':
    case 'replace':
    case 'test':
      // JSON has no undefined: a missing value is a slip of the author, except that Go clients drop a null.
      return { op, path, value: value.value ?? null }
    case 'move':
    case 'copy':
      if (typeof from !== 'string') throw malformedPatch(place, `"${op}" has no from`)
      return { op, path, from }
    default:
      throw malformedPatch(place, `operation ${JSON.stringify(op)} is unknown`)
  }
}

type Root = { '': unknown }

function applyOperation(root: Root, operation: JsonPatchOperation, index: number, budget: { copied: number }): void {
  const fail = (state: string): never => {
    throw unappliablePatch(`JSON patch operation ${index} "${operation.op} ${operation.path}"`, state)
  }
  const path = parsePointer(operation.path, fail)
  switch (operation.op) {
    case 'add':
      return add(root, path, cloneJson(operation.value), fail)
    case 'remove':
      return void remove(root, path, fail)
    case 'replace':
      return replace(root, path, cloneJson(operation.value), fail)
    case 'test':
      if (!equalJson(read(root, path, fail), operation.value)) fail('the value there is another one')
      return
    case 'move': {
      if (operation.path.startsWith(`${operation.from}/`)) fail(`it would move "${operation.from}" into itself`)
      return add(root, path, remove(root, parsePointer(operation.from, fail), fail), fail)
    }
    case 'copy': {
      const value = read(root, parsePointer(operation.from, fail), fail)
      budget.copied += countValues(value)
      if (budget.copied > maxCopiedValues) fail(`the patch copies more than ${maxCopiedValues} values`)
      return add(root, path, cloneJson(value), fail)
    }
  }
}

type Fail = (state: string) => never

/** The tokens of an RFC 6901 pointer, below a root whose only key is the empty string. */
function parsePointer(pointer: string, fail: Fail): string[] {
  if (pointer !== '' && pointer[0] !== '/') fail(`path "${pointer}" does not begin with "/"`)
  return pointer.split('/').map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function read(root: Root, path: string[], fail: Fail): unknown {
  let value: unknown = root
  for (const token of path) value = child(value, token, fail)
  return value
}

function child(value: unknown, token: string, fail: Fail): unknown {
  if (Array.isArray(value)) return value[existingIndex(value, token, fail)]
  if (!isJsonObject(value) || !Object.hasOwn(value, token)) return fail(`"${token}" does not exist`)
  return value[token]
}

function parentOf(root: Root, path: string[], fail: Fail): { parent: unknown; key: string } {
  return { parent: read(root, path.slice(0, -1), fail), key: path.at(-1) ?? '' }
}

function add(root: Root, path: string[], value: unknown, fail: Fail): void {
  const { parent, key } = parentOf(root, path, fail)
  if (Array.isArray(parent)) {
    const index = key === '-' ? parent.length : indexOf(key, fail)
    if (index > parent.length) fail(`index ${index} is beyond the list of ${parent.length}`)
    parent.splice(index, 0, value)
  } else if (isJsonObject(parent)) setKey(parent, key, value)
  else fail(`the parent of "${key}" is neither an object nor a list`)
}

function replace(root: Root, path: string[], value: unknown, fail: Fail): void {
  const { parent, key } = parentOf(root, path, fail)
  child(parent, key, fail)
  if (Array.isArray(parent)) parent[existingIndex(parent, key, fail)] = value
  else if (isJsonObject(parent)) setKey(parent, key, value)
}

function remove(root: Root, path: string[], fail: Fail): unknown {
  if (path.length === 1) fail('the whole document cannot be removed')
  const { parent, key } = parentOf(root, path, fail)
  const removed = child(parent, key, fail)
  if (Array.isArray(parent)) parent.splice(existingIndex(parent, key, fail), 1)
  else if (isJsonObject(parent)) delete parent[key]
  return removed
}

function existingIndex(list: unknown[], token: string, fail: Fail): number {
  const index = indexOf(token, fail)
  if (index >= list.length) fail(`index ${token} is beyond the list of ${list.length}`)
  return index
}

function indexOf(token: string, fail: Fail): number {
  if (!/^(0|[1-9]\d*)$/.test(token)) fail(`"${token}" is not a list index`)
  return Number(token)
}

function countValues(value: unknown): number {
  if (Array.isArray(value)) return value.reduce((sum: number, each) => sum + countValues(each), 1)
  if (!isJsonObject(value)) return 1
  return Object.values(value).reduce((sum: number, each) => sum + countValues(each), 1)
}
