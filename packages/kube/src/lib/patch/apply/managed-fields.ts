import { isJsonObject } from '../json-value.ts'
import { inOrder, isEmptySet, parseFieldSet, union } from './field-set.ts'
import type { FieldSet } from './field-set.ts'
import { FieldsText } from './fields-text.ts'

export type ManagedOperation = 'Apply' | 'Update'

/** Who owns which fields: one entry of `metadata.managedFields`, decoded. */
export interface ManagedEntry {
  readonly manager: string
  readonly operation: ManagedOperation
  readonly apiVersion: string
  /** Empty for writes to the object itself. */
  readonly subresource: string
  /** Whole seconds, UTC; undefined where nothing was changed by taking ownership. */
  readonly time: string | undefined
  readonly fields: FieldSet
}

/** One entry as the API shows it. */
export interface ManagedFieldsEntry {
  manager?: string | undefined
  operation?: string | undefined
  apiVersion?: string | undefined
  time?: string | undefined
  fieldsType?: string | undefined
  fieldsV1?: { [key: string]: unknown } | undefined
  subresource?: string | undefined
}

/** Entries are kept by identity: an applier is the same whatever version it applies in. */
export type Managed = ReadonlyMap<string, ManagedEntry>

/** What tells one manager from another, as text; also the order in which conflicts are told. */
export function identityOf({
  manager,
  operation,
  apiVersion,
  subresource,
}: Pick<ManagedEntry, 'manager' | 'operation' | 'apiVersion' | 'subresource'>): string {
  const parts: Record<string, string> = {}
  if (manager !== '') parts['manager'] = manager
  parts['operation'] = operation
  if (operation === 'Update' && apiVersion !== '') parts['apiVersion'] = apiVersion
  if (subresource !== '') parts['subresource'] = subresource
  return JSON.stringify(parts)
}

/**
 * Decodes `metadata.managedFields`. Entries that this server wrote are taken as they are with `isTrusted`; others are
 * checked and brought to their canonical form. Throws `SyntaxError` for entries that are none.
 */
export function decodeManaged(
  entries: readonly ManagedFieldsEntry[] | undefined,
  { isTrusted }: { isTrusted: boolean },
): Map<string, ManagedEntry> {
  const managed = new Map<string, ManagedEntry>()
  for (const [index, entry] of (entries ?? []).entries()) {
    const decoded = decodeEntry(entry, index, isTrusted)
    managed.set(identityOf(decoded), decoded)
  }
  return managed
}

function decodeEntry(entry: ManagedFieldsEntry, index: number, isTrusted: boolean): ManagedEntry {
  if (typeof entry !== 'object' || entry === null) throw new SyntaxError(`managed fields entry ${index} is no object`)
  const { manager = '', operation, apiVersion = '', time, fieldsType = '', fieldsV1 = {}, subresource = '' } = entry
  if (operation !== 'Apply' && operation !== 'Update') throw new SyntaxError('operation must be `Apply` or `Update`')
  if (apiVersion === '') throw new SyntaxError('apiVersion must not be empty')
  if (fieldsType === '') throw new SyntaxError(`missing fieldsType in managed fields entry ${index}`)
  if (fieldsType !== 'FieldsV1') {
    throw new SyntaxError(`invalid fieldsType ${JSON.stringify(fieldsType)} in managed fields entry ${index}`)
  }
  // The proof of the cast: this server stores field sets and nothing else there.
  const fields = isTrusted ? (fieldsV1 as FieldSet) : parseFieldSet(fieldsV1)
  return { manager, operation, apiVersion, subresource, time, fields }
}

/** The entries as the API shows them, in upstream's order; empty when nobody owns anything. */
export function encodeManaged(managed: Managed): ManagedFieldsEntry[] {
  return [...managed.values()].toSorted(compareEntries).map((entry) => ({
    manager: entry.manager,
    operation: entry.operation,
    apiVersion: entry.apiVersion,
    ...(entry.time === undefined ? {} : { time: entry.time }),
    fieldsType: 'FieldsV1',
    // Of a new object it is a text, in order already.
    fieldsV1: entry.fields instanceof FieldsText ? entry.fields : inOrder(entry.fields),
    ...(entry.subresource === '' ? {} : { subresource: entry.subresource }),
  }))
}

function compareEntries(a: ManagedEntry, b: ManagedEntry): number {
  return (
    compareTexts(a.operation, b.operation) ||
    compareTexts(a.time ?? '', b.time ?? '') ||
    compareTexts(a.manager, b.manager) ||
    compareTexts(a.apiVersion, b.apiVersion) ||
    compareTexts(a.subresource, b.subresource)
  )
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** Entry with other fields. */
export function withFields(entry: ManagedEntry, fields: FieldSet): ManagedEntry {
  return fields === entry.fields ? entry : { ...entry, fields }
}

const maxUpdateManagers = 10
const ancient = 'ancient-changes'

/**
 * Joins the oldest updaters into one entry per version when there are more than ten: whoever writes under many names
 * does not make the object grow without end.
 */
export function capUpdaters(all: Managed): Managed {
  // Nearly always; every write asks.
  if (all.size <= maxUpdateManagers) return all
  const managed = new Map(all)
  const updaters = [...managed].filter(([, { operation }]) => operation === 'Update')
  let count = updaters.length
  updaters.sort(([a, left], [b, right]) => compareTexts(left.time ?? '', right.time ?? '') || compareTexts(a, b))
  const firsts = new Map<string, string>()
  for (const [identity, entry] of updaters) {
    if (count <= maxUpdateManagers) break
    const { apiVersion, time } = entry
    const first = firsts.get(apiVersion)
    if (first === undefined) {
      firsts.set(apiVersion, identity)
      continue
    }
    const bucket = { manager: ancient, operation: 'Update', apiVersion, subresource: '' } as const
    const key = identityOf(bucket)
    const joined = managed.get(key) ?? managed.get(first)
    if (!managed.has(key)) managed.delete(first)
    managed.set(key, { ...bucket, time, fields: union(entry.fields, joined?.fields ?? {}) })
    // The bucket may be the very entry that is joined.
    if (identity !== key) managed.delete(identity)
    count -= 1
  }
  return managed
}

/** Whether entries sent by a client ask for ownership to be forgotten: an empty list, or one empty entry. */
export function asksForReset(entries: readonly ManagedFieldsEntry[] | undefined): boolean {
  if (entries === undefined) return false
  if (entries.length === 0) return true
  const [first] = entries
  return entries.length === 1 && isJsonObject(first) && Object.keys(first).length === 0
}

/** Entries that own nothing are left out. */
export function dropEmpty(managed: Map<string, ManagedEntry>): void {
  for (const [identity, { fields }] of managed) if (isEmptySet(fields)) managed.delete(identity)
}
