import { copyExactJson } from '@fairlead/kube/codec'
import type { KubeObject } from '@fairlead/kube/types'
import type { Namespace } from '@fairlead/kube/types/core-v1'

import type { Entry } from '../storage/collection.ts'
import type { Change, Store } from '../storage/store.ts'
import type { WriteGuard } from './access/write-guard.ts'
import type { AdmissionScope } from './admission/scope.ts'
import type { Admission } from './admission.ts'
import type { Reservation } from './admission/reservation.ts'
import { planDeletion } from './deletion.ts'
import { validateEphemeral } from './ephemeral-containers.ts'
import { validateResize } from './pod-resize.ts'
import type { Deletion } from './deletion.ts'
import type { Identity } from './exchange.ts'
import { isSameOwnership, ownWrite } from './field-managers/ownership.ts'
import type { Ownership } from './field-managers/ownership.ts'
import { desiresChange, generateNameFrom, isEqual, keepIdentity, stampNew, validateMetadata } from './metadata.ts'
import { converting, idOf, readObject, selectAttributes, serialise } from './resource.ts'
import { replacePart } from './replace-part.ts'
import type { Part } from './replace-part.ts'
import type { Resource } from './resource.ts'
import { alreadyExists, badRequest, invalid, notFound, terminating } from './status.ts'
import type { FieldError } from './status.ts'
import type { KindStrategy } from './strategy.ts'
import { checkVersion } from './version-check.ts'
import { convert } from './versions.ts'

export interface RegistryOptions {
  store: Store
  admission: Admission
  /** Looks at what users write. Default: nobody does. */
  guard?: WriteGuard | undefined
  /** Milliseconds since 1970. */
  now: () => number
}

export interface WriteOptions {
  namespace: string
  /** Who writes; the server itself without. */
  identity?: Identity | undefined
  /** Whose the fields become that the write sets; without, nobody's: the server itself writes. */
  ownership?: Ownership | undefined
  /** Decide everything, store nothing. */
  isDryRun: boolean
  /** With `isDryRun`: tell what would be judged, without judging it. */
  isPreview?: boolean | undefined
  /** Whether what is to be created came with a `resourceVersion`. */
  isVersioned?: boolean | undefined
  /** What the request says to admission, and what that says back. */
  scope?: AdmissionScope | undefined
}

export interface UpdateOptions extends WriteOptions {
  name: string
  /** Which part of the object the write may change: the object itself, or a subresource. */
  part: 'object' | Part
  /**
   * The transform changes nothing of the version it is shown, and what it returns shares nothing with it but who owns what:
   * then it is not shown a copy.
   */
  isDetached?: boolean | undefined
  /** Set when the write of the object comes by its Scale. */
  subresource?: 'scale' | undefined
}

/** What a write left behind: the object as stored (or as it would be), and whether it is gone now. */
export interface Written {
  /** What was stored, or would have been. */
  readonly stored: Pick<Entry, 'bytes'>
  readonly isGone: boolean
}

const nameAttempts = 8

/** The rules every write goes through, whatever the verb; nothing here knows of HTTP. */
export class Registry {
  readonly store: Store
  readonly #admission: Admission
  readonly #guard: WriteGuard | undefined
  readonly #now: () => number

  constructor(options: RegistryOptions) {
    this.store = options.store
    this.#admission = options.admission
    this.#guard = options.guard
    this.#now = options.now
  }

  /** The current version of an object; throws 404. */
  read(resource: Resource, namespace: string, name: string): Entry {
    const entry = this.store.get(resource.collection, idOf(namespace, name))
    if (entry === undefined) throw notFound(resource.info, name)
    return entry
  }

  create(resource: Resource, object: KubeObject, options: WriteOptions): Promise<Written> {
    const stored = resource.stored
    if (resource.custom?.isTerminating === true) throw terminating(resource.info)
    convert(object, stored.info)
    const isNamed = (object.metadata.name ?? '') !== ''
    const { managedFields } = object.metadata
    stampNew(stored, object, options.namespace, this.#now())
    if (managedFields !== undefined) object.metadata.managedFields = managedFields
    const { generateName } = object.metadata
    // Only a name the server made up may be replaced by another one.
    if (isNamed || generateName === undefined) return this.#createConverted(stored, object, options)
    return this.#createUnderNewName(stored, object, generateName, options)
  }

  async #createUnderNewName(
    stored: Resource,
    object: KubeObject,
    generateName: string,
    options: WriteOptions,
  ): Promise<Written> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const named = structuredCopy(object)
        return await this.#createConverted(stored, named, options)
      } catch (error) {
        const isTaken = error instanceof Error && 'status' in error && isAlreadyExists(error.status)
        if (!isTaken || attempt === nameAttempts) throw error
        object.metadata.name = generateNameFrom(generateName)
      }
    }
  }

  /**
   * Replaces an object by what `transform` makes of its current version, which it must not change. A `resourceVersion`
   * in the result is a condition. Nothing is written when nothing changed.
   */
  async update(
    resource: Resource,
    options: UpdateOptions,
    transform: (current: KubeObject) => KubeObject,
  ): Promise<Written> {
    const { namespace, name } = options
    return await this.#writeConverted(resource, namespace, name, options.isDryRun, (entry) => {
      const current = readObject(resource, entry)
      const asked = transform(options.isDetached === true ? current : copyOf(current))
      checkVersion(resource, asked, current)
      return this.#planUpdate(resource, options, asked, current)
    })
  }

  /** Deletes at once, or marks for deletion when there is a grace period or a finalizer. */
  async delete(
    resource: Resource,
    namespace: string,
    name: string,
    deletion: Deletion,
    identity?: Identity,
  ): Promise<Written> {
    const stored = resource.stored
    return await this.#writeConverted(resource, namespace, name, deletion.isDryRun, (entry) => {
      const object = readObject(stored, entry)
      this.#check(stored, 'delete', { namespace, identity }, '', object, undefined)
      const next = planDeletion(stored, object, deletion, this.#now())
      if (next === 'gone') return { operation: 'delete', object, reservation: undefined }
      return next === undefined ? undefined : { operation: 'put', object: next, reservation: undefined }
    })
  }

  #check(
    resource: Resource,
    operation: 'create' | 'update' | 'delete',
    { identity, namespace, scope }: Pick<WriteOptions, 'identity' | 'namespace' | 'scope'>,
    subresource: string,
    object: KubeObject,
    old: KubeObject | undefined,
  ): void {
    if (identity === undefined || this.#guard === undefined) return
    const { name = '' } = object.metadata
    const verb = operation === 'update' && scope?.isPatch === true ? 'patch' : operation
    this.#guard.check({ identity, resource, operation, verb, subresource, namespace, name, object, old })
  }

  /** As with updates: in several attempts only where a webhook converts. */
  #createConverted(stored: Resource, object: KubeObject, options: WriteOptions): Promise<Written> {
    if (stored.form.ensureWritable === undefined) return this.#createNamed(stored, object, options)
    return converting(() => this.#createNamed(stored, object, options))
  }

  async #createNamed(stored: Resource, object: KubeObject, options: WriteOptions): Promise<Written> {
    const { name = '' } = object.metadata
    const { info, strategy } = stored
    let written: Buffer | undefined
    let reservation: Reservation | undefined
    try {
      const entry = await this.store.transact(stored.collection, idOf(options.namespace, name), (current) => {
        strategy.create?.(object)
        if (info.kind === 'Namespace') startNamespace(object)
        strategy.default?.(object)
        ownWrite(stored, object, undefined, options.ownership, object.metadata.managedFields, this.#now())
        this.#check(stored, 'create', options, '', object, undefined)
        reservation = this.#admission.create(stored, object, current)
        if (options.isPreview !== true) this.#judgeNew(stored, object, options, reservation)
        // Only now, as upstream: what is wrong with an object is told before that it was there already, or its name is taken.
        if (options.isVersioned === true && !options.isDryRun) {
          throw badRequest('resourceVersion should not be set on objects to be created')
        }
        if (current !== undefined && options.isPreview !== true) throw alreadyExists(info, name)
        if (!options.isDryRun) return putOf(stored, object)
        written = serialise(object)
        return undefined
      })
      if (options.isDryRun) reservation?.cancel()
      return { stored: entry ?? { bytes: written ?? serialise(object) }, isGone: false }
    } catch (error) {
      reservation?.cancel()
      throw error
    }
  }

  #judgeNew(stored: Resource, object: KubeObject, options: WriteOptions, reservation: Reservation): void {
    const { info, strategy } = stored
    const found = [...validateMetadata(info, object), ...(strategy.validate?.(object, undefined) ?? [])]
    if (found.length > 0) throw invalid(info, object.metadata.name ?? '', found)
    const request = { resource: stored, subresource: '', object, old: undefined, options }
    this.#admission.validate(request, reservation)
  }

  #planUpdate(resource: Resource, options: UpdateOptions, asked: KubeObject, before: KubeObject): Plan | undefined {
    const stored = resource.stored
    const object = convert(asked, stored.info)
    const current = convert(before, stored.info)
    const { info, strategy } = stored
    const { managedFields } = object.metadata
    if (options.part === 'object') this.#replaceObject(stored, object, current)
    else replacePart(stored, options.part, object, current)
    ownWrite(stored, object, current, options.ownership, managedFields, this.#now())
    this.#check(stored, 'update', options, options.part === 'object' ? '' : options.part, object, current)
    const reservation = this.#admission.update(stored, object, current, options)
    try {
      if (options.isPreview === true) return { operation: 'put', object, reservation }
      const found = judgeChange(strategy, options.part, object, current)
      const added = options.part === 'ephemeralcontainers' ? validateEphemeral(object, current) : []
      const errors = [...validateMetadata(info, object, current), ...found, ...added]
      if (errors.length > 0) throw invalid(info, options.name, errors)
      const subresource = options.part === 'object' ? '' : options.part
      this.#admission.validate({ resource: stored, subresource, object, old: current, options }, reservation)
    } catch (error) {
      reservation.cancel()
      throw error
    }
    if (isFinished(object)) return { operation: 'delete', object, reservation }
    if (isUnchanged(object, current)) return undefined
    // That a pod is bound is not what its author desires.
    if (
      options.part !== 'binding' &&
      stored.hasGeneration &&
      desiresChange(object, current, stored.custom?.countsStatus)
    ) {
      object.metadata.generation = (current.metadata.generation ?? 0) + 1
    }
    return { operation: 'put', object, reservation }
  }

  #replaceObject(stored: Resource, object: KubeObject, current: KubeObject): void {
    keepIdentity(object, current)
    if (stored.info.kind === 'Namespace') keepNamespace(object, current)
    stored.strategy.update?.(object, current)
    stored.strategy.default?.(object)
  }

  /** Versions that a webhook converts are read and written in several attempts; all others in one. */
  async #writeConverted(
    resource: Resource,
    namespace: string,
    name: string,
    isDryRun: boolean,
    plan: (entry: Entry) => Plan | undefined,
  ): Promise<Written> {
    if (resource.form.prepare === undefined) return await this.#write(resource, namespace, name, isDryRun, plan)
    return await converting(() => this.#write(resource, namespace, name, isDryRun, plan))
  }

  async #write(
    resource: Resource,
    namespace: string,
    name: string,
    isDryRun: boolean,
    plan: (entry: Entry) => Plan | undefined,
  ): Promise<Written> {
    const stored = resource.stored
    let planned: Plan | undefined
    let unchanged: Entry | undefined
    try {
      const entry = await this.store.transact(stored.collection, idOf(namespace, name), (current) => {
        if (current === undefined) throw notFound(resource.info, name)
        unchanged = current
        planned = plan(current)
        if (planned === undefined || isDryRun) return undefined
        return planned.operation === 'put' ? putOf(stored, planned.object) : deleteOf(stored, planned.object)
      })
      if (isDryRun) planned?.reservation?.cancel()
      const shown = entry ?? (planned === undefined ? unchanged : { bytes: serialise(planned.object) })
      return { stored: shown ?? { bytes: Buffer.alloc(0) }, isGone: planned?.operation === 'delete' }
    } catch (error) {
      planned?.reservation?.cancel()
      throw error
    }
  }
}

/** Each part of an object has rules of its own for what may become of it. */
function judgeChange(
  strategy: KindStrategy,
  part: UpdateOptions['part'],
  object: KubeObject,
  current: KubeObject,
): FieldError[] {
  if (part === 'resize') return validateResize(object, current)
  // Nothing of the pod is replaced: it is given a node.
  if (part === 'binding') return []
  // What a write to the pod itself may not change is all that such a write changes.
  if (part === 'ephemeralcontainers') return strategy.validate?.(object, object) ?? []
  if (part === 'status' && strategy.validateStatus !== undefined) return strategy.validateStatus(object, current)
  return strategy.validate?.(object, current) ?? []
}

interface Plan {
  readonly operation: 'put' | 'delete'
  readonly object: KubeObject
  readonly reservation: Reservation | undefined
}

function putOf(stored: Resource, object: KubeObject): Change {
  stored.form.ensureWritable?.(object)
  return {
    operation: 'put',
    encode: (revision) => stored.form.write(object, revision),
    cache: selectAttributes(stored, object),
  }
}

function deleteOf(stored: Resource, object: KubeObject): Change {
  return { ...putOf(stored, object), operation: 'delete' }
}

/** Whether a write would change nothing; that somebody did it at another time is nothing. */
function isUnchanged(object: KubeObject, current: KubeObject): boolean {
  if (!isSameOwnership(object.metadata.managedFields, current.metadata.managedFields)) return false
  const { managedFields: _fields, ...metadata } = object.metadata
  const { managedFields: _before, ...before } = current.metadata
  return isEqual({ ...object, metadata }, { ...current, metadata: before })
}

function startNamespace(object: KubeObject): void {
  const namespace = object as KubeObject & Namespace
  const finalizers = namespace.spec?.finalizers ?? []
  namespace.spec = {
    ...namespace.spec,
    finalizers: finalizers.includes('kubernetes') ? finalizers : [...finalizers, 'kubernetes'],
  }
  namespace.status = { phase: 'Active' }
  // The label that lets selectors name a namespace; upstream's defaulting adds it.
  namespace.metadata.labels = {
    ...namespace.metadata.labels,
    'kubernetes.io/metadata.name': namespace.metadata.name ?? '',
  }
}

function keepNamespace(object: KubeObject, current: KubeObject): void {
  object['spec'] = current['spec']
  object.metadata.labels = { ...object.metadata.labels, 'kubernetes.io/metadata.name': object.metadata.name ?? '' }
}

/** Whether an object that is being deleted has nothing left to wait for. */
function isFinished(object: KubeObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds = 0, finalizers = [] } = object.metadata
  if (deletionTimestamp === undefined || deletionGracePeriodSeconds > 0 || finalizers.length > 0) return false
  if (object.kind !== 'Namespace') return true
  return ((object as KubeObject & Namespace).spec?.finalizers ?? []).length === 0
}

function isAlreadyExists(status: unknown): boolean {
  return typeof status === 'object' && status !== null && 'reason' in status && status.reason === 'AlreadyExists'
}

/** A copy that may be changed; who owns what is shared, as it is replaced and never changed. */
function copyOf(object: KubeObject): KubeObject {
  const { managedFields, ...metadata } = object.metadata
  const copy = cloneValue({ ...object, metadata }) as KubeObject
  if (managedFields !== undefined) copy.metadata.managedFields = managedFields
  return copy
}

function cloneValue(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(cloneValue)
  const copy: Record<string, unknown> = {}
  for (const [key, child] of Object.entries(value)) {
    if (key === '__proto__')
      Object.defineProperty(copy, key, {
        value: cloneValue(child),
        writable: true,
        enumerable: true,
        configurable: true,
      })
    else copy[key] = cloneValue(child)
  }
  return copy
}

function structuredCopy(object: KubeObject): KubeObject {
  return copyExactJson(object)
}
