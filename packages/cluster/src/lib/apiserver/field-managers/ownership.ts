import { ownUpdate } from '@fairlead/kube/patch'
import type { ManagedFieldsEntry, Owned, Writer } from '@fairlead/kube/patch'
import type { KubeObject } from '@fairlead/kube/types'

import { isEqual, renderTime } from '../metadata.ts'
import type { Resource } from '../resource.ts'
import { mergeContextOf } from './merge-context.ts'

/**
 * Who a write makes owner of what. `entries` stand already where applying has decided, or where the owners are kept in
 * another form (scale).
 */
export type Ownership = { readonly writer: Writer } | { readonly entries: ManagedFieldsEntry[] | undefined }

/**
 * Sets `metadata.managedFields` of an object about to be written in the place of `current`, which is undefined when it is
 * new. `sent` are the entries the client sent. The object has its defaults, and nothing yet of what admission adds:
 * nobody owns that.
 */
export function ownWrite(
  resource: Resource,
  object: KubeObject,
  current: KubeObject | undefined,
  ownership: Ownership | undefined,
  sent: ManagedFieldsEntry[] | undefined,
  now: number,
): void {
  const entries = ownership === undefined ? entriesOf(current) : decide(resource, object, current, ownership, sent, now)
  if (entries === undefined || entries.length === 0) delete object.metadata.managedFields
  else object.metadata.managedFields = entries
}

function decide(
  resource: Resource,
  object: KubeObject,
  current: KubeObject | undefined,
  ownership: Ownership,
  sent: ManagedFieldsEntry[] | undefined,
  now: number,
): ManagedFieldsEntry[] | undefined {
  const before = entriesOf(current)
  if ('entries' in ownership) return ownership.entries
  const { writer } = ownership
  // Nearly every client that replaces an object sends back the entries it got.
  const news = sent === undefined || isEqual(sent, before) ? before : sent
  object.metadata.managedFields = news
  const info = { writer, time: renderTime(now) }
  const context = mergeContextOf(resource, writer.subresource)
  // The proof of the casts: an object of the API, as ownership sees it.
  return ownUpdate(context, info, current as Owned | undefined, object as Owned)
}

function entriesOf(object: KubeObject | undefined): ManagedFieldsEntry[] | undefined {
  return object?.metadata.managedFields
}

/** Whether two lists of entries differ in times at most. */
export function isSameOwnership(
  a: readonly ManagedFieldsEntry[] | undefined,
  b: readonly ManagedFieldsEntry[] | undefined,
): boolean {
  if (a === b) return true
  if (a === undefined || b === undefined || a.length !== b.length) return false
  return a.every((entry, index) => {
    const { time: _time, ...left } = entry
    const { time: _other, ...right } = b[index] ?? {}
    return isEqual(left, right)
  })
}
