import { cloneJson, isJsonObject } from '../json-value.ts'
import { ApplyConflict, ApplyError } from './errors.ts'
import { hasPath } from './field-set.ts'
import { allowedConflicts, lastApplied, syncLastApplied } from './last-applied.ts'
import { asksForReset, capUpdaters, decodeManaged, encodeManaged } from './managed-fields.ts'
import { ElementError } from './path-element.ts'
import { applyTyped, trackUpdate } from './ownership.ts'
import { renderFindings, validateTyped } from './validate.ts'
import type { JsonObject } from '../json-value.ts'
import type { Managed, ManagedFieldsEntry } from './managed-fields.ts'
import type { MergeContext, Writer } from './ownership.ts'

/** An object as far as ownership is concerned. */
export interface Owned {
  apiVersion: string
  kind: string
  metadata: { uid?: string | undefined; managedFields?: ManagedFieldsEntry[] | undefined; [key: string]: unknown }
  [key: string]: unknown
}

export interface WriteInfo {
  /** Who writes, in which version, by which subresource. */
  readonly writer: Writer
  /** Time of the write: whole seconds, UTC. */
  readonly time: string
}

/**
 * `metadata.managedFields` of an object about to be written: `next` takes the place of `live`, which is undefined when
 * it is new. An empty list in `next` asks for ownership to be forgotten; other entries it brings take the place of
 * those of `live` if they are in order. Undefined when nobody owns anything, or nobody has been asked to.
 */
export function ownUpdate(
  context: MergeContext,
  { writer, time }: WriteInfo,
  live: Owned | undefined,
  next: Owned,
): ManagedFieldsEntry[] | undefined {
  try {
    return decideUpdate(context, { writer, time }, live, next)
  } catch (error) {
    // A list whose elements cannot be told apart is for validation to refuse; until then nobody owns anything.
    if (error instanceof ElementError) return undefined
    throw error
  }
}

function decideUpdate(
  context: MergeContext,
  { writer, time }: WriteInfo,
  live: Owned | undefined,
  next: Owned,
): ManagedFieldsEntry[] | undefined {
  const sent = next.metadata.managedFields
  const before = live?.metadata.managedFields
  const managed = decodeSent(sent, before, writer.subresource !== '')
  // An object nobody owns anything of has been reset, or was there before ownership was: only an apply changes that.
  if (managed.size === 0 && live !== undefined) return undefined
  const tracked = trackUpdate(context, managed, writer, time, { live, next })
  if (tracked === managed && (sent === undefined || sent === before)) return before
  return entriesOf(capUpdaters(tracked))
}

function entriesOf(managed: Managed): ManagedFieldsEntry[] | undefined {
  return managed.size === 0 ? undefined : encodeManaged(managed)
}

/** Entries a write starts from. Those sent through a subresource do not count. */
function decodeSent(
  sent: ManagedFieldsEntry[] | undefined,
  before: ManagedFieldsEntry[] | undefined,
  isSubresource: boolean,
): Managed {
  if (isSubresource || sent === undefined || sent === before) return decodeManaged(before, { isTrusted: true })
  if (asksForReset(sent)) return new Map()
  try {
    return decodeManaged(sent, { isTrusted: false })
  } catch {
    // A client that does not understand the entries does not lose them.
    return decodeManaged(before, { isTrusted: true })
  }
}

export interface Configuration {
  /** The configuration as sent. */
  readonly config: unknown
  readonly kind: string
  /** `namespace/name`, for messages. */
  readonly subject: string
  readonly isForced: boolean
}

/**
 * Applies a configuration to `live`, which is undefined when there is no object yet; the result is a new object with
 * its `managedFields`, or `live` itself when neither changed.
 *
 * Throws {@link ApplyConflict} when other managers own what would change and {@link ApplyError} for a configuration
 * that cannot be applied. For the manager `kubectl`, what client-side apply recorded in its annotation is no conflict,
 * and the annotation is kept up to date.
 */
export function applyConfiguration<T extends Owned>(
  context: MergeContext,
  info: WriteInfo,
  live: T | undefined,
  configuration: Configuration,
): T {
  const { writer, time } = info
  const config = checkConfiguration(context, writer, configuration)
  const start = live ?? emptyObject(writer.apiVersion, configuration.kind)
  const managed = startManaged(context, info, start, live === undefined)
  const apply = (isForced: boolean) => applyTyped(context, managed, writer, time, { live: start, config, isForced })
  const applied = tryApply(context, writer, start, configuration.isForced, apply)
  // The proof of the cast: a configuration of the kind laid over an object of the kind.
  const object = (applied.object === undefined ? { ...start, metadata: { ...start.metadata } } : applied.object) as T
  const entries = entriesOf(applied.managed)
  object.metadata = { ...object.metadata }
  if (entries === undefined) delete object.metadata.managedFields
  else object.metadata.managedFields = entries
  if (writer.manager === 'kubectl' && lastApplied(object) !== undefined) syncLastApplied(object, config)
  return object
}

function emptyObject(apiVersion: string, kind: string): Owned {
  return { apiVersion, kind, metadata: {} }
}

/** What is known of the owners; an object nobody owned so far is owned by whoever was there before the first apply. */
function startManaged(context: MergeContext, { writer, time }: WriteInfo, live: Owned, isNew: boolean): Managed {
  const managed = decodeManaged(live.metadata.managedFields, { isTrusted: true })
  if (managed.size > 0 || isNew) return managed
  const before = { ...writer, manager: 'before-first-apply' }
  const tracked = trackUpdate(context, managed, before, time, { live: undefined, next: live })
  // As it would be read from the store: what a create makes of fields is text.
  return decodeManaged(JSON.parse(JSON.stringify(encodeManaged(tracked))) as ManagedFieldsEntry[], { isTrusted: true })
}

type Apply = (isForced: boolean) => ReturnType<typeof applyTyped>

/** A conflict that only says what client-side apply set is none for the manager that used to do it. */
function tryApply(
  context: MergeContext,
  writer: Writer,
  live: Owned,
  isForced: boolean,
  apply: Apply,
): ReturnType<typeof applyTyped> {
  try {
    return apply(isForced)
  } catch (error) {
    if (error instanceof ElementError) throw new ApplyError(500, `failed to merge config: ${error.message}`)
    if (!(error instanceof ApplyConflict) || writer.manager !== 'kubectl') throw error
    const allowed = allowedConflicts(context, writer.apiVersion, live)
    if (allowed === undefined) throw error
    const rest = error.conflicts.filter(({ path }) => !hasPath(allowed, path))
    if (rest.length > 0) throw new ApplyConflict(rest)
    return apply(true)
  }
}

function checkConfiguration(
  context: MergeContext,
  { apiVersion }: Writer,
  { config, kind, subject }: Configuration,
): JsonObject {
  if (!isJsonObject(config)) throw new ApplyError(400, 'error decoding YAML: the body is not an object')
  const [givenVersion, givenKind] = [textOf(config['apiVersion']), textOf(config['kind'])]
  if (givenVersion !== apiVersion || givenKind !== kind) {
    throw new ApplyError(400, `invalid object type: ${groupVersion(givenVersion)}, Kind=${givenKind}`)
  }
  const metadata = config['metadata']
  if (isJsonObject(metadata) && metadata['managedFields'] !== undefined && metadata['managedFields'] !== null) {
    throw new ApplyError(400, 'metadata.managedFields must be nil')
  }
  const type = context.typeOf(apiVersion)
  const errors = type === undefined ? ['no corresponding type'] : validateTyped(type, config)
  if (errors.length > 0) {
    const about = `(${subject}; ${groupVersion(apiVersion)}, Kind=${kind})`
    throw new ApplyError(500, `failed to create typed patch object ${about}: ${renderFindings(errors)}`)
  }
  return cloneJson(config)
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** The core group has no name, and Go prints that. */
function groupVersion(apiVersion: string): string {
  return apiVersion.includes('/') ? apiVersion : `/${apiVersion}`
}
