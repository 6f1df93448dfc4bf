import { difference, hasPath, isEmptySet, setOfPath } from './field-set.ts'
import { decodeManaged, encodeManaged, identityOf } from './managed-fields.ts'
import type { ManagedEntry, ManagedFieldsEntry } from './managed-fields.ts'

const scaleVersion = 'autoscaling/v1'
const scalePath = ['f:spec', 'f:replicas']

/**
 * Where the number of replicas stands in each version of the object that is scaled: an empty path in one that has no scale,
 * undefined in one that is unknown, whose owners are forgotten.
 */
export type ReplicasPaths = (apiVersion: string) => readonly string[] | undefined

/** Ownership of an object as its Scale shows it: of the number of replicas and nothing else. */
export function toScaleFields(
  entries: readonly ManagedFieldsEntry[] | undefined,
  pathOf: ReplicasPaths,
): ManagedFieldsEntry[] {
  const out = new Map<string, ManagedEntry>()
  for (const entry of decodeManaged(entries, { isTrusted: true }).values()) {
    const path = pathOf(entry.apiVersion)
    if (path === undefined || !hasPath(entry.fields, path)) continue
    const scale = { ...entry, apiVersion: scaleVersion, fields: setOfPath(scalePath) }
    // Two updaters that differ in version only are told apart still: by the identity they have in the object.
    out.set(identityOf(entry), scale)
  }
  return encodeManaged(out)
}

/** Ownership of an object after its Scale was written, whose entries are `scaleEntries`. */
export function fromScaleFields(
  entries: readonly ManagedFieldsEntry[] | undefined,
  scaleEntries: readonly ManagedFieldsEntry[] | undefined,
  apiVersion: string,
  pathOf: ReplicasPaths,
): ManagedFieldsEntry[] {
  const parents = decodeManaged(entries, { isTrusted: true })
  const scales = new Map<string, ManagedEntry>()
  for (const entry of decodeManaged(scaleEntries, { isTrusted: true }).values()) {
    if (hasPath(entry.fields, scalePath)) scales.set(nameOf(entry), entry)
  }
  const out = new Map<string, ManagedEntry>()
  for (const [identity, entry] of parents) {
    const path = pathOf(entry.apiVersion)
    if (path === undefined) continue
    if (!hasPath(entry.fields, path) || scales.delete(nameOf(entry))) {
      out.set(identity, entry)
      continue
    }
    const fields = difference(entry.fields, setOfPath(path))
    if (!isEmptySet(fields)) out.set(identity, { ...entry, fields })
  }
  const path = pathOf(apiVersion)
  for (const scale of path === undefined ? [] : scales.values()) {
    const entry = { ...scale, apiVersion, fields: setOfPath(path ?? []) }
    out.set(identityOf(entry), entry)
  }
  return encodeManaged(out)
}

/** A manager whatever the version: an entry changes its version on the way to the Scale and back. */
function nameOf({ manager, operation, subresource }: ManagedEntry): string {
  return JSON.stringify([manager, operation, subresource])
}
