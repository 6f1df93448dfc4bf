import { isDeepStrictEqual } from 'node:util'

import type { Schema } from './dialect.ts'

/** Addresses and definitions of a document of OpenAPI version 2. */
export interface Version2 {
  readonly paths: Readonly<Record<string, Schema>>
  readonly definitions: Readonly<Record<string, Schema>>
}

const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch'] as const
const kindsKey = 'x-kubernetes-group-version-kind'
const definitionPrefix = '#/definitions/'
const parameterPrefix = '#/parameters/'

/**
 * Of a server's document what lies below `prefix`, with the definitions that needs. Parameters that its operations share
 * stand in each of them afterwards.
 */
export function partOf(document: Schema, prefix: string): Version2 {
  const shared = record(document['parameters'])
  const kept = Object.entries(record(document['paths'])).filter(([path]) => path.startsWith(prefix))
  const paths = Object.fromEntries(kept.map(([path, each]) => [path, withoutShared(record(each), shared)]))
  return { paths, definitions: usedBy(paths, record(document['definitions'])) }
}

function withoutShared(path: Schema, shared: Schema): Schema {
  const inline = (each: unknown): unknown => {
    const reference = record(each)['$ref']
    return typeof reference === 'string' && reference.startsWith(parameterPrefix)
      ? shared[reference.slice(parameterPrefix.length)]
      : each
  }
  const common = list(path['parameters'])
  const present = methods.filter((method) => Object.hasOwn(path, method))
  return Object.fromEntries(
    present.map((method) => {
      const operation = record(path[method])
      const parameters = [...common, ...list(operation['parameters'])].map(inline).filter((each) => each !== undefined)
      return [method, parameters.length === 0 ? operation : { ...operation, parameters }]
    }),
  )
}

/** The definitions that something refers to, and those these refer to. */
function usedBy(value: unknown, definitions: Schema): Record<string, Schema> {
  const used: Record<string, Schema> = {}
  const waiting: unknown[] = [value]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    for (const name of referencesIn(next)) {
      if (Object.hasOwn(used, name) || !Object.hasOwn(definitions, name)) continue
      used[name] = record(definitions[name])
      waiting.push(used[name])
    }
  }
  return used
}

/**
 * A document with the parts of other servers in it. An address that is there stays as it is; a definition that says
 * something else under a name that is taken gets the next free one (`NAME_v2`), as kube-aggregator has it.
 */
export function mergeVersion2(own: Version2, parts: readonly Version2[]): Version2 {
  const paths: Record<string, Schema> = { ...own.paths }
  const definitions: Record<string, Schema> = { ...own.definitions }
  for (const part of parts) {
    const news = Object.fromEntries(Object.entries(part.paths).filter(([path]) => !Object.hasOwn(paths, path)))
    const used = usedBy(news, part.definitions)
    const renames = renamesOf(used, definitions)
    for (const [name, definition] of Object.entries(used)) {
      const to = renames.get(name) ?? name
      const added = renamed(definition, renames) as Schema
      const existing = definitions[to]
      definitions[to] = existing === undefined ? added : withKindsOf(existing, added)
    }
    Object.assign(paths, renamed(news, renames))
  }
  return { paths, definitions }
}

/** New names for definitions that are there and say something else. */
function renamesOf(
  added: Readonly<Record<string, Schema>>,
  there: Readonly<Record<string, Schema>>,
): Map<string, string> {
  const renames = new Map<string, string>()
  for (const [name, definition] of Object.entries(added)) {
    const existing = there[name]
    if (existing === undefined || isSameButKinds(existing, definition)) continue
    for (let n = 2; !renames.has(name); n += 1) {
      const next = `${name}_v${n}`
      const taken = there[next]
      const isFree = taken === undefined ? added[next] === undefined : isSameButKinds(taken, definition)
      if (isFree) renames.set(name, next)
    }
  }
  return renames
}

function isSameButKinds({ [kindsKey]: _a, ...a }: Schema, { [kindsKey]: _b, ...b }: Schema): boolean {
  return isDeepStrictEqual(a, b)
}

/** Definitions that several servers have (options of a delete, say) are of the kinds of all of them. */
function withKindsOf(existing: Schema, added: Schema): Schema {
  const [had, more] = [list(existing[kindsKey]), list(added[kindsKey])]
  const missing = more.filter((kind) => !had.some((each) => isDeepStrictEqual(each, kind)))
  if (missing.length === 0) return existing
  return { ...existing, [kindsKey]: [...had, ...missing].toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)) }
}

function keyOf(kind: unknown): string {
  const { group, version, kind: name } = record(kind)
  return `${String(group)}/${String(version)}.${String(name)}`
}

function* referencesIn(value: unknown): Generator<string> {
  if (typeof value !== 'object' || value === null) return
  for (const [key, child] of Object.entries(value)) {
    if (key === '$ref' && typeof child === 'string') {
      if (child.startsWith(definitionPrefix)) yield child.slice(definitionPrefix.length)
    } else yield* referencesIn(child)
  }
}

function renamed(value: unknown, renames: ReadonlyMap<string, string>): unknown {
  if (renames.size === 0 || typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((each: unknown) => renamed(each, renames))
  return Object.fromEntries(
    Object.entries(value).map(([key, child]: [string, unknown]) => {
      if (key !== '$ref' || typeof child !== 'string') return [key, renamed(child, renames)]
      const to = renames.get(child.slice(definitionPrefix.length))
      return [key, to === undefined ? child : `${definitionPrefix}${to}`]
    }),
  )
}

function record(value: unknown): Schema {
  return typeof value === 'object' && value !== null ? (value as Schema) : {}
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}
