import type { KubeObject } from '@fairlead/kube/types'
import type { CustomResourceDefinition, CustomResourceDefinitionCondition } from '@fairlead/kube/types/apiextensions-v1'

import type { Entry } from '../../storage/collection.ts'
import type { Store, Subscription } from '../../storage/store.ts'
import type { Catalogue } from '../catalogue.ts'
import { isEqual, renderTime } from '../metadata.ts'
import type { Registry } from '../registry.ts'
import { knownResource, readObject } from '../resource.ts'
import type { Resource } from '../resource.ts'
import { StatusError } from '../status.ts'
import { createConverter } from './conversion.ts'
import type { ServiceResolver } from './conversion.ts'
import { createCustomResource } from './custom-resource.ts'
import { cleanupFinalizer, narrowBounds } from './definition-strategy.ts'
import { decideNames, nameHolderOf } from './names.ts'
import type { NameDecision, NameHolder } from './names.ts'

type Definition = KubeObject & CustomResourceDefinition

export interface DefinitionsOptions {
  readonly store: Store
  readonly registry: Registry
  readonly catalogue: Catalogue
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly onError: (error: unknown) => void
  /** Finds the address of a service that converts objects. */
  readonly resolveService?: ServiceResolver | undefined
}

/**
 * Serves what CustomResourceDefinitions define. A definition is in the catalogue at the moment its write becomes
 * visible; its status, which says so, follows. Definitions that are being deleted take their objects with them.
 */
export class Definitions {
  readonly #options: DefinitionsOptions
  readonly #kind: Resource = knownResource('apiextensions.k8s.io', 'v1', 'customresourcedefinitions')
  readonly #subscription: Subscription
  readonly #served = new Map<string, Served>()
  /** Of all definitions: what others may be called. */
  readonly #holders = new Map<string, NameHolder>()
  /** Definitions whose status is being brought up to date; true when they changed meanwhile. */
  readonly #busy = new Map<string, boolean>()
  #isClosed = false

  constructor(options: DefinitionsOptions) {
    this.#options = options
    const { store } = options
    this.#subscription = store.subscribe(this.#kind.collection, undefined, ({ entry, operation }) => {
      if (operation === 'put') this.#changed(readDefinition(this.#kind, entry))
      else this.#deleted(entry.id)
    })
    const known = this.#all()
    for (const definition of known) this.#holders.set(definition.metadata.name ?? '', nameHolderOf(definition))
    for (const definition of known) this.#changed(definition)
  }

  close(): void {
    this.#isClosed = true
    this.#subscription.unsubscribe()
    for (const { retire } of this.#served.values()) retire()
  }

  #all(): Definition[] {
    return [...this.#options.store.list(this.#kind.collection)].map((entry) => readDefinition(this.#kind, entry))
  }

  #changed(definition: Definition): void {
    const name = definition.metadata.name ?? ''
    this.#holders.set(name, nameHolderOf(definition))
    const names = decideNames(definition, this.#holders.values())
    try {
      this.#serve(definition, names)
    } catch (error) {
      // Stored by another release, perhaps: the others are served all the same.
      this.#options.onError(error)
    }
    // Most often there is nothing left to do, as at the start of a cluster.
    if (this.#busy.has(name) || !this.#isSettled(definition, names)) this.#follow(name)
  }

  #isSettled(definition: Definition, names: NameDecision): boolean {
    return definition.metadata.deletionTimestamp === undefined && this.#changedStatus(definition, names) === undefined
  }

  #deleted(name: string): void {
    this.#served.get(name)?.retire()
    this.#served.delete(name)
    this.#holders.delete(name)
    this.#options.catalogue.remove(name)
    // Names that are free now may be what others wait for.
    for (const other of this.#all()) if (!isAccepted(other)) this.#changed(other)
  }

  #serve(definition: Definition, { accepted, condition }: NameDecision): void {
    const name = definition.metadata.name ?? ''
    const isServed = condition.status === 'True' || isEstablished(definition)
    if (!isServed) return
    const facts = factsOf(definition, accepted)
    const known = this.#served.get(name)
    if (known !== undefined && isEqual(known.facts, facts)) return
    known?.retire()
    const retired = new AbortController()
    const converter = createConverter(definition, this.#options.resolveService)
    const shown = { ...definition, status: { ...definition.status, acceptedNames: accepted } }
    const options = { converter, isTerminating: facts.isTerminating, retired: retired.signal }
    const resources = definition.spec.versions.flatMap((version) =>
      version.served ? [createCustomResource(shown, version, options)] : [],
    )
    this.#served.set(name, { facts, retire: () => retired.abort() })
    this.#options.catalogue.put(name, resources)
  }

  /** Brings status and objects of a definition to where they should be, one step after the other. */
  #follow(name: string): void {
    if (this.#busy.has(name)) {
      this.#busy.set(name, true)
      return
    }
    this.#busy.set(name, false)
    void this.#run(name)
  }

  async #run(name: string): Promise<void> {
    try {
      await this.#step(name)
    } catch (error) {
      const isRace = error instanceof StatusError && (error.status.code === 409 || error.status.code === 404)
      if (!isRace && !this.#isClosed) this.#options.onError(error)
    }
    const again = this.#busy.get(name) === true
    this.#busy.delete(name)
    if (again && !this.#isClosed) this.#follow(name)
  }

  async #step(name: string): Promise<void> {
    const entry = this.#options.store.get(this.#kind.collection, name)
    if (entry === undefined || this.#isClosed) return
    const definition = readDefinition(this.#kind, entry)
    if (definition.metadata.deletionTimestamp !== undefined) await this.#empty(definition)
    else await this.#writeStatus(definition)
  }

  async #writeStatus(definition: Definition): Promise<void> {
    const status = this.#changedStatus(definition, decideNames(definition, this.#holders.values()))
    if (status !== undefined) await this.#updateStatus(definition, status)
  }

  /** The status a definition is to have; undefined when it has it. */
  #changedStatus(definition: Definition, { accepted, condition }: NameDecision): Definition['status'] {
    const conditions = this.#conditionsOf(definition, condition)
    const status = { ...definition.status, acceptedNames: accepted, conditions }
    return isEqual(status, definition.status) ? undefined : status
  }

  #conditionsOf(definition: Definition, names: NameDecision['condition']): CustomResourceDefinitionCondition[] {
    const isGood = names.status === 'True' || isEstablished(definition)
    const established = isGood
      ? { status: 'True', reason: 'InitialNamesAccepted', message: 'the initial names have been accepted' }
      : { status: 'False', reason: 'NotAccepted', message: 'not all names are accepted' }
    const conditions = this.#setCondition(definition.status?.conditions ?? [], { type: 'NamesAccepted', ...names })
    return this.#setCondition(conditions, { type: 'Established', ...established })
  }

  #setCondition(
    conditions: readonly CustomResourceDefinitionCondition[],
    wanted: CustomResourceDefinitionCondition,
  ): CustomResourceDefinitionCondition[] {
    const known = conditions.find(({ type }) => type === wanted.type)
    const isSame = known?.status === wanted.status
    if (isSame && known.reason === wanted.reason && known.message === wanted.message) return [...conditions]
    const lastTransitionTime = (isSame ? known.lastTransitionTime : undefined) ?? renderTime(this.#options.now())
    const { type, status, reason, message } = wanted
    const next = { lastTransitionTime, message, reason, status, type }
    return known === undefined ? [...conditions, next] : conditions.map((each) => (each === known ? next : each))
  }

  async #updateStatus(definition: Definition, status: unknown): Promise<void> {
    const name = definition.metadata.name ?? ''
    const options = { namespace: '', name, part: 'status', isDryRun: false } as const
    await this.#options.registry.update(this.#kind, options, (current) => {
      // Only what was looked at: with another spec the answer may be another one.
      const { resourceVersion } = definition.metadata
      return { ...current, status, metadata: { ...current.metadata, resourceVersion } }
    })
  }

  /** Deletes the objects of a definition that is being deleted, and lets it go when none is left. */
  async #empty(definition: Definition): Promise<void> {
    const { finalizers = [] } = definition.metadata
    if (!finalizers.includes(cleanupFinalizer)) return
    const name = definition.metadata.name ?? ''
    const collection = `${definition.spec.group}/${definition.spec.names.plural}`
    if (await this.#setTerminating(definition)) return
    await this.#deleteObjects(definition, collection)
    if (this.#options.store.count(collection) > 0) {
      this.#waitUntilEmpty(name, collection)
      return
    }
    const options = { namespace: '', name, part: 'object', isDryRun: false } as const
    await this.#options.registry.update(this.#kind, options, (current) => {
      const left = (current.metadata.finalizers ?? []).filter((each) => each !== cleanupFinalizer)
      return { ...current, metadata: { ...current.metadata, finalizers: left } }
    })
  }

  async #setTerminating(definition: Definition): Promise<boolean> {
    const conditions = this.#setCondition(definition.status?.conditions ?? [], {
      type: 'Terminating',
      status: 'True',
      reason: 'InstanceDeletionInProgress',
      message: 'CustomResource deletion is in progress',
    })
    if (isEqual(conditions, definition.status?.conditions ?? [])) return false
    await this.#updateStatus(definition, { ...definition.status, conditions })
    return true
  }

  async #deleteObjects(definition: Definition, collection: string): Promise<void> {
    const version = definition.spec.versions.find(({ storage }) => storage)?.name ?? ''
    const { group, names } = definition.spec
    const resource =
      this.#options.catalogue.find(`${group}/${version}`, names.plural) ??
      definition.spec.versions
        .map((each) => this.#options.catalogue.find(`${group}/${each.name}`, names.plural))
        .find((each) => each !== undefined)
    if (resource === undefined) return
    const deletion = {
      gracePeriodSeconds: undefined,
      propagationPolicy: undefined,
      preconditions: {},
      isDryRun: false,
    } as const
    // All of them first: the collection changes below.
    for (const { id } of Array.from(this.#options.store.list(collection))) {
      const slash = id.indexOf('/')
      const [namespace, name] = slash < 0 ? ['', id] : [id.slice(0, slash), id.slice(slash + 1)]
      await this.#options.registry.delete(resource, namespace, name, deletion).catch(ignoreMissing)
    }
  }

  /** Finalizers of others hold objects back: looks again whenever one is gone. */
  #waitUntilEmpty(name: string, collection: string): void {
    const { store } = this.#options
    const waiting = store.subscribe(collection, undefined, ({ operation }) => {
      if (operation !== 'delete' && !this.#isClosed) return
      if (store.count(collection) > 0 && !this.#isClosed) return
      waiting.unsubscribe()
      this.#follow(name)
    })
  }
}

interface Served {
  readonly facts: Facts
  readonly retire: () => void
}

/** What the resources of a definition are made of; anything else may change without them. */
interface Facts {
  readonly spec: unknown
  readonly accepted: unknown
  readonly isTerminating: boolean
}

function factsOf(definition: Definition, accepted: unknown): Facts {
  const isTerminating = definition.metadata.deletionTimestamp !== undefined
  return { spec: definition.spec, accepted, isTerminating }
}

function hasCondition({ status }: Definition, type: string): boolean {
  return (status?.conditions ?? []).some((each) => each.type === type && each.status === 'True')
}

function isEstablished(definition: Definition): boolean {
  return hasCondition(definition, 'Established')
}

function isAccepted(definition: Definition): boolean {
  return hasCondition(definition, 'NamesAccepted')
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof StatusError) || error.status.code !== 404) throw error
}

function readDefinition(kind: Resource, entry: Entry): Definition {
  const definition = readObject(kind, entry) as Definition
  narrowBounds(definition)
  return definition
}
