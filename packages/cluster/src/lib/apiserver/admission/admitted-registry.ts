import { parseExactJson } from '@fairlead/kube/codec'
import type { KubeObject } from '@fairlead/kube/types'

import type { Deletion } from '../deletion.ts'
import type { Identity } from '../exchange.ts'
import type { Ownership } from '../field-managers/ownership.ts'
import { Registry } from '../registry.ts'
import type { RegistryOptions, UpdateOptions, WriteOptions, Written } from '../registry.ts'
import { readObject } from '../resource.ts'
import type { Resource } from '../resource.ts'
import { applyScale, toScale } from '../scale.ts'
import { conflict, StatusError } from '../status.ts'
import { AdmissionNotes } from './attributes.ts'
import type { AdmissionAttributes } from './attributes.ts'
import type { DynamicAdmission } from './dynamic-admission.ts'
import type { AdmissionScope } from './scope.ts'

/** Somebody else may write while webhooks think; after so many times the client is told. */
const attempts = 10

/**
 * The registry with webhooks and policies before it. They are asked between writes, never within one: what they said
 * counts only if the object is still the one they saw, else they are asked again.
 */
export class AdmittedRegistry extends Registry {
  readonly #dynamic: DynamicAdmission

  constructor(options: RegistryOptions, dynamic: DynamicAdmission) {
    super(options)
    this.#dynamic = dynamic
  }

  override create(resource: Resource, object: KubeObject, options: WriteOptions): Promise<Written> {
    const { identity } = options
    const isAsked = identity !== undefined && this.#dynamic.applies('CREATE', resource, '', object.metadata.name ?? '')
    return isAsked ? this.#createAsked(resource, object, options, identity) : super.create(resource, object, options)
  }

  async #createAsked(
    resource: Resource,
    object: KubeObject,
    options: WriteOptions,
    identity: Identity,
  ): Promise<Written> {
    const preview = parse(await super.create(resource, object, { ...options, isDryRun: true, isPreview: true }))
    const about = { ...factsOf(options, identity), operation: 'CREATE' as const, resource, subresource: '' }
    const { name = '' } = preview.metadata
    const attributes = { ...about, name, object: asRequested(resource, preview), oldObject: undefined }
    const mutated = await this.#dynamic.mutate(attributes)
    const admitted = withOwners(options, preview)
    const judged = parse(await super.create(resource, cloneOf(mutated), { ...admitted, isDryRun: true }))
    await this.#dynamic.validate({ ...attributes, object: asRequested(resource, judged) })
    return await super.create(resource, judged, admitted)
  }

  override async update(
    resource: Resource,
    options: UpdateOptions,
    transform: (current: KubeObject) => KubeObject,
  ): Promise<Written> {
    const { identity, part, name } = options
    const subresource = options.subresource ?? (part === 'object' ? '' : part)
    const isAsked = identity !== undefined && part !== 'binding'
    if (!isAsked || !this.#dynamic.applies('UPDATE', resource, subresource, name)) {
      return await super.update(resource, options, transform)
    }
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#updateOnce(resource, options, transform, identity, subresource)
      } catch (error) {
        if (!(error instanceof ChangedMeanwhile)) throw error
        if (attempt === attempts) throw conflict(resource.info, name)
      }
    }
  }

  async #updateOnce(
    resource: Resource,
    options: UpdateOptions,
    transform: (current: KubeObject) => KubeObject,
    identity: Identity,
    subresource: string,
  ): Promise<Written> {
    let before: KubeObject | undefined
    const previewed = await super.update(resource, { ...options, isDryRun: true, isPreview: true }, (current) => {
      before = structuredClone(current)
      // What a transform returns may be the client's own object: it is needed again when this must be done again.
      return structuredClone(transform(current))
    })
    const preview = parse(previewed)
    const shown = viewOf(resource, subresource)
    const attributes: AdmissionAttributes = {
      ...factsOf(options, identity),
      operation: 'UPDATE',
      resource,
      subresource,
      ...(subresource === 'scale' ? { kind: scaleKind } : {}),
      namespace: namespaceFor(resource, options.namespace, options.name),
      name: options.name,
      object: shown.show(asRequested(resource, preview)),
      oldObject: before === undefined ? undefined : shown.show(before),
    }
    const mutated = await this.#dynamic.mutate(attributes)
    const admitted = withOwners(options, preview)
    const wanted =
      mutated === attributes.object
        ? asRequested(resource, preview)
        : shown.merge(asRequested(resource, preview), mutated)
    const judged = parse(await super.update(resource, { ...admitted, isDryRun: true }, unchangedSince(before, wanted)))
    const object = asRequested(resource, judged)
    await this.#dynamic.validate({ ...attributes, object: shown.show(object) })
    return await super.update(resource, admitted, unchangedSince(before, object))
  }

  override async delete(
    resource: Resource,
    namespace: string,
    name: string,
    deletion: Deletion,
    identity?: Identity,
  ): Promise<Written> {
    if (identity === undefined || !this.#dynamic.applies('DELETE', resource, '', name)) {
      return await super.delete(resource, namespace, name, deletion, identity)
    }
    for (let attempt = 1; ; attempt += 1) {
      const entry = this.read(resource, namespace, name)
      await resource.form.prepare?.([entry.bytes])
      const oldObject = readObject(resource, entry)
      const { resourceVersion, uid } = oldObject.metadata
      const facts = factsOf({ namespace, isDryRun: deletion.isDryRun, scope: deletion.scope }, identity)
      const about = {
        ...facts,
        operation: 'DELETE' as const,
        resource,
        subresource: '',
        name,
        object: undefined,
        oldObject,
      }
      const attributes = { ...about, namespace: namespaceFor(resource, namespace, name) }
      await this.#dynamic.mutate(attributes)
      await this.#dynamic.validate(attributes)
      const { preconditions } = deletion
      try {
        const seen = {
          uid: preconditions.uid ?? uid,
          resourceVersion: preconditions.resourceVersion ?? resourceVersion,
        }
        return await super.delete(resource, namespace, name, { ...deletion, preconditions: seen }, identity)
      } catch (error) {
        const isOurs = preconditions.uid === undefined && preconditions.resourceVersion === undefined
        const isRace = error instanceof StatusError && error.status.code === 409
        if (!isOurs || !isRace || attempt === attempts) throw error
      }
    }
  }

  /** Asks about a request that stores no object of its own: a connection, a binding, an eviction, a token. */
  async admit(
    about: Omit<AdmissionAttributes, 'notes' | 'options'>,
    scope: AdmissionScope | undefined,
  ): Promise<KubeObject | undefined> {
    const { operation, resource, subresource, name } = about
    if (!this.#dynamic.applies(operation, resource, subresource, name)) return about.object
    const attributes = { ...about, options: scope?.options, notes: scope?.notes ?? new AdmissionNotes() }
    const object = await this.#dynamic.mutate(attributes)
    await this.#dynamic.validate({ ...attributes, object })
    return object
  }
}

class ChangedMeanwhile extends Error {}

const scaleKind = { group: 'autoscaling', version: 'v1', kind: 'Scale' }

type Facts = Pick<AdmissionAttributes, 'identity' | 'options' | 'isDryRun' | 'namespace' | 'notes'>

function factsOf({ scope, isDryRun, namespace }: WriteOptions, identity: Identity): Facts {
  const { options, notes } = scope ?? { options: undefined, notes: new AdmissionNotes() }
  return { identity, options, isDryRun, namespace, notes }
}

/** The requests for a namespace are in it, once it is there. */
function namespaceFor({ info }: Resource, namespace: string, name: string): string {
  return info.kind === 'Namespace' && info.group === '' ? name : namespace
}

/** What webhooks change belongs to nobody: the owners are those of the object before them. */
function withOwners<T extends WriteOptions>(options: T, { metadata }: KubeObject): T {
  if (options.ownership === undefined) return options
  const ownership: Ownership = { entries: metadata.managedFields }
  return { ...options, ownership }
}

function unchangedSince(before: KubeObject | undefined, object: KubeObject): (current: KubeObject) => KubeObject {
  return (current) => {
    const { uid, resourceVersion } = current.metadata
    if (uid !== before?.metadata.uid || resourceVersion !== before?.metadata.resourceVersion)
      throw new ChangedMeanwhile()
    return structuredClone(object)
  }
}

interface View {
  show(object: KubeObject): KubeObject
  merge(object: KubeObject, shown: KubeObject | undefined): KubeObject
}

function viewOf({ custom }: Resource, subresource: string): View {
  if (subresource !== 'scale') return { show: (object) => object, merge: (object, shown) => shown ?? object }
  const put = custom?.applyScale ?? applyScale
  type Scale = Parameters<typeof put>[1]
  return {
    show: (object) => (custom?.toScale ?? toScale)(object),
    merge: (object, shown) => (shown === undefined ? object : put(object, shown as Scale)),
  }
}

/** An object as decided, in the version of the request. */
function asRequested(resource: Resource, object: KubeObject): KubeObject {
  const { stored } = resource
  if (stored === resource) return structuredClone(object)
  const revision = Number(object.metadata.resourceVersion ?? 0)
  const written = resource.form.read(stored.form.write(structuredClone(object), revision))
  if (object.metadata.resourceVersion === undefined) delete written.metadata.resourceVersion
  return written
}

function cloneOf(object: KubeObject | undefined): KubeObject {
  if (object === undefined) throw new TypeError('Cannot create nothing: admission left no object')
  return structuredClone(object)
}

function parse({ stored }: Written): KubeObject {
  return parseExactJson(stored.bytes.toString('utf8')) as KubeObject
}
