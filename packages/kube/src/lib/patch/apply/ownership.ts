import { compareTyped } from './compare.ts'
import { createdFields } from './created.ts'
import { conflictsOf, ApplyConflict } from './errors.ts'
import {
  difference,
  intersection,
  isEmptySet,
  isMember,
  recursiveDifference,
  union,
  withNamedFields,
} from './field-set.ts'
import { dropEmpty, identityOf, withFields } from './managed-fields.ts'
import { mergeTyped } from './merge.ts'
import { reconcileWithSchema } from './reconcile.ts'
import { removeFields } from './remove.ts'
import { toFieldSet } from './to-field-set.ts'
import { isEqualValue, withZeros } from './value.ts'
import type { Comparison } from './compare.ts'
import type { Ownable } from './created.ts'
import type { FieldSet } from './field-set.ts'
import type { Managed, ManagedEntry } from './managed-fields.ts'
import type { MergeType } from './merge-type.ts'

/** What ownership needs to know of a kind. */
export interface MergeContext {
  /** How objects of a version are merged; undefined for a version that is not (or no longer) served. */
  typeOf(apiVersion: string): MergeType | undefined
  /** The object in another version, a copy or itself; undefined when there is no such version. */
  convert(object: unknown, apiVersion: string): unknown
  /** Fields that the write cannot change, so that nobody comes to own them by it: the status, usually. */
  readonly ignored?: FieldSet | undefined
  /**
   * The types do not change while objects live: what their change would make of ownership is looked at by an apply only.
   */
  readonly isFixed?: boolean
  /** The only fields the write can change; the opposite of `ignored`. */
  readonly kept?: ((fields: FieldSet) => FieldSet) | undefined
}

/** Who writes. */
export type Writer = Pick<ManagedEntry, 'manager' | 'apiVersion' | 'subresource'>

/** Leaves out what the write cannot change. */
function filtered(context: MergeContext, fields: FieldSet): FieldSet {
  if (context.kept !== undefined) return context.kept(fields)
  return context.ignored === undefined ? fields : recursiveDifference(fields, context.ignored)
}

/** Compares two versions of an object in whatever API version an owner speaks; each is compared once. */
class Versions {
  readonly #context: MergeContext
  readonly #comparisons = new Map<string, Comparison | undefined>()
  readonly #before: unknown
  readonly #after: unknown
  readonly #hasZeros: boolean

  constructor(context: MergeContext, before: unknown, after: unknown, hasZeros: boolean) {
    this.#context = context
    this.#before = before
    this.#after = after
    this.#hasZeros = hasZeros
  }

  /** Undefined for a version that is not served. */
  in(apiVersion: string): Comparison | undefined {
    if (!this.#comparisons.has(apiVersion)) this.#comparisons.set(apiVersion, this.#compare(apiVersion))
    return this.#comparisons.get(apiVersion)
  }

  #compare(apiVersion: string): Comparison | undefined {
    const type = this.#context.typeOf(apiVersion)
    const before = this.#context.convert(this.#before, apiVersion)
    const after = this.#context.convert(this.#after, apiVersion)
    if (type === undefined || before === undefined || after === undefined) return undefined
    const { removed, changed } = compareTyped(type, before, after, { hasZeros: this.#hasZeros })
    return { removed: filtered(this.#context, removed), changed: filtered(this.#context, changed) }
  }
}

/** Takes from every owner but `writer` what the write changes or removes. */
function release(
  managed: Map<string, ManagedEntry>,
  versions: Versions,
  writer: string | undefined,
  isForced: boolean,
): void {
  const taken: { identity: string; owner: ManagedEntry; fields: FieldSet }[] = []
  for (const [identity, owner] of managed) {
    if (identity === writer) continue
    const comparison = versions.in(owner.apiVersion)
    if (comparison === undefined) {
      managed.delete(identity)
      continue
    }
    const fields = intersection(owner.fields, comparison.changed)
    if (!isEmptySet(fields)) taken.push({ identity, owner, fields })
  }
  if (taken.length > 0 && !isForced) throw new ApplyConflict(conflictsOf(taken))
  const lost = new Map(taken.map(({ identity, fields }) => [identity, fields]))
  for (const [identity, owner] of managed) {
    if (identity === writer) continue
    const kept = difference(owner.fields, lost.get(identity) ?? {})
    managed.set(identity, withFields(owner, difference(kept, versions.in(owner.apiVersion)?.removed ?? {})))
  }
  dropEmpty(managed)
}

/** Brings the entries to the schema of today. */
function reconciled(context: MergeContext, managed: Managed): Map<string, ManagedEntry> {
  const out = new Map<string, ManagedEntry>()
  for (const [identity, entry] of managed) {
    const type = context.typeOf(entry.apiVersion)
    if (type !== undefined) out.set(identity, withFields(entry, reconcileWithSchema(entry.fields, type)))
  }
  return out
}

/**
 * Who owns what after an object was replaced: what the writer added or changed is its own, whoever else owned that or
 * something removed does no longer.
 */
export function trackUpdate(
  context: MergeContext,
  managed: Managed,
  writer: Writer,
  time: string,
  { live, next }: { live: unknown; next: unknown },
): Managed {
  if (live === undefined && managed.size === 0 && context.kept === undefined)
    return trackCreate(context, writer, time, next)
  const versions = new Versions(context, live ?? {}, next, true)
  const own = versions.in(writer.apiVersion)
  if (own === undefined || (isEmptySet(own.changed) && isEmptySet(own.removed))) return managed
  const out = context.isFixed === true ? new Map(managed) : reconciled(context, managed)
  const entry: ManagedEntry = { ...writer, operation: 'Update', time, fields: difference(own.changed, unowned) }
  const identity = identityOf(entry)
  const before = out.get(identity)
  release(out, versions, identity, true)
  if (before !== undefined) out.set(identity, withFields(before, difference(before.fields, own.removed)))
  if (!isEmptySet(entry.fields)) {
    out.set(identity, withFields(entry, union(out.get(identity)?.fields ?? {}, entry.fields)))
  }
  dropEmpty(out)
  return out
}

function trackCreate(context: MergeContext, writer: Writer, time: string, next: unknown): Managed {
  const type = context.typeOf(writer.apiVersion)
  const object = context.convert(next, writer.apiVersion)
  if (type === undefined || object === undefined) return new Map()
  const fields = createdFields(type, object, ownableIn(context))
  if (fields === undefined) return new Map()
  // The proof of the cast: nothing looks into the fields of a create but what writes them.
  const entry: ManagedEntry = { ...writer, operation: 'Update', time, fields: fields as unknown as FieldSet }
  return new Map([[identityOf(entry), entry]])
}

/** Whether somebody can own a field at the root or one level below. */
function ownableIn({ ignored }: MergeContext): Ownable {
  return (element, parent) => {
    if (parent === '') return element !== 'f:apiVersion' && element !== 'f:kind' && !isWhole(ignored?.[element])
    return (parent !== 'f:metadata' || unownedMetadata[element] === undefined) && !isWhole(ignored?.[parent]?.[element])
  }
}

function isWhole(node: FieldSet | undefined): boolean {
  return node !== undefined && isMember(node)
}

/** What identifies an object, and what only the server sets: nobody owns it. */
const unownedMetadata: FieldSet = {
  '.': {},
  'f:name': {},
  'f:namespace': {},
  'f:creationTimestamp': {},
  'f:selfLink': {},
  'f:uid': {},
  'f:clusterName': {},
  'f:generation': {},
  'f:managedFields': {},
  'f:resourceVersion': {},
}
const unowned: FieldSet = { 'f:apiVersion': {}, 'f:kind': {}, 'f:metadata': unownedMetadata }

/** What applying a configuration makes of an object and of who owns it. */
export interface Applied {
  /** The object with the configuration laid over it; undefined when it is as it was. */
  readonly object: unknown
  readonly managed: Managed
}

/**
 * Lays a configuration over an object. Fields the writer applied before and no longer names are removed unless
 * somebody else owns them. Throws {@link ApplyConflict} when others own what would change, unless `isForced`.
 */
export function applyTyped(
  context: MergeContext,
  managed: Managed,
  writer: Writer,
  time: string,
  { live, config, isForced }: { live: unknown; config: unknown; isForced: boolean },
): Applied {
  const type = context.typeOf(writer.apiVersion)
  if (type === undefined) throw new TypeError(`Cannot apply in version "${writer.apiVersion}": it is not served`)
  const out = reconciled(context, managed)
  const entry: ManagedEntry = { ...writer, operation: 'Apply', time: undefined, fields: {} }
  const identity = identityOf(entry)
  const last = out.get(identity)
  const before = withZeros(type, live)
  const fields = filtered(context, toFieldSet(type, config))
  out.set(identity, { ...entry, time: last?.time, fields })
  const merged = mergeTyped(type, before, config)
  const next = last === undefined || isEmptySet(last.fields) ? merged : prune(context, merged, out, identity, last)
  release(out, new Versions(context, before, next, false), identity, isForced)
  const isChanged = !isEqualValue(before, next)
  settle(out, identity, isChanged ? time : last?.time)
  return { object: isChanged ? next : undefined, managed: out }
}

function settle(managed: Map<string, ManagedEntry>, identity: string, time: string | undefined): void {
  const entry = managed.get(identity)
  if (entry === undefined) return
  const fields = difference(entry.fields, unowned)
  if (isEmptySet(fields)) managed.delete(identity)
  else managed.set(identity, withFields({ ...entry, time }, fields))
}

/** Removes what was applied last time and is not any more, unless another manager or the new configuration has it. */
function prune(
  context: MergeContext,
  merged: unknown,
  managed: Managed,
  identity: string,
  last: ManagedEntry,
): unknown {
  const type = context.typeOf(last.apiVersion)
  const converted = type === undefined ? undefined : context.convert(merged, last.apiVersion)
  if (type === undefined || converted === undefined) return merged
  const lastFields = withNamedFields(last.fields, type)
  let pruned = removeFields(type, converted, lastFields)
  pruned = addBackOwned(context, converted, pruned, managed, last.apiVersion)
  const prunedFields = withNamedFields(toFieldSet(type, pruned), type)
  const mergedFields = withNamedFields(toFieldSet(type, converted), type)
  const dangling = intersection(difference(mergedFields, prunedFields), lastFields)
  const result = removeFields(type, converted, dangling)
  return context.convert(result, managed.get(identity)?.apiVersion ?? last.apiVersion) ?? merged
}

/** Puts back what the removal took and somebody owns, version by version, the pruned one first. */
function addBackOwned(
  context: MergeContext,
  merged: unknown,
  pruned: unknown,
  managed: Managed,
  first: string,
): unknown {
  const byVersion = new Map<string, FieldSet>([[first, {}]])
  for (const { apiVersion, fields } of managed.values()) {
    byVersion.set(apiVersion, union(byVersion.get(apiVersion) ?? {}, fields))
  }
  let [whole, rest] = [merged, pruned]
  for (const [apiVersion, owned] of byVersion) {
    const type = context.typeOf(apiVersion)
    const [mergedHere, prunedHere] = [context.convert(whole, apiVersion), context.convert(rest, apiVersion)]
    if (type === undefined || mergedHere === undefined || prunedHere === undefined) continue
    const mergedFields = withNamedFields(toFieldSet(type, mergedHere), type)
    const wanted = union(withNamedFields(toFieldSet(type, prunedHere), type), withNamedFields(owned, type))
    whole = mergedHere
    rest = removeFields(type, mergedHere, difference(mergedFields, wanted))
  }
  return context.convert(rest, first)
}
