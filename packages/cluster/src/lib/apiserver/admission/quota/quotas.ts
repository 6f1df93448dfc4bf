import type { KubeObject } from '@fairlead/kube/types'
import type { Pod } from '@fairlead/kube/types/core-v1'

import type { Store, Subscription } from '../../../storage/store.ts'
import { idOf, knownResource } from '../../resource.ts'
import { forbiddenObject } from '../../status.ts'
import { KeptObjects } from '../kept-objects.ts'
import { amountOf, renderAmount } from '../plugins/amounts.ts'
import type { Amounts } from '../plugins/amounts.ts'
import type { Reservation } from '../reservation.ts'
import type { Write } from '../write.ts'
import { isInScope } from './scopes.ts'
import { Tally } from './tally.ts'
import type { Quota } from './tally.ts'
import { collectionOf, difference, missingOf, usageOf } from './usage.ts'

const quotas = knownResource('', 'v1', 'resourcequotas')

/**
 * ResourceQuota admission. Usage is counted in this process, writes that are not on disk yet included, so no number of
 * concurrent writes exceeds a quota. Only namespaces with quotas are counted, and of these only what quotas name.
 */
export class Quotas {
  readonly #store: Store
  readonly #now: () => number
  readonly #quotas: KeptObjects<Quota>
  readonly #tallies = new Map<string, Tally>()
  readonly #subscriptions = new Map<string, Subscription>()
  /** Told of namespaces where usage, or a quota, has changed. */
  onChange: (namespace: string) => void = () => undefined

  constructor(store: Store, now: () => number) {
    this.#store = store
    this.#now = now
    this.#quotas = new KeptObjects(store, quotas)
    const subscription = store.subscribe(quotas.collection, undefined, ({ entry }) => {
      const namespace = namespaceOf(entry.id)
      if (this.#quotas.list(namespace).length === 0) this.#forget(namespace)
      this.onChange(namespace)
    })
    this.#subscriptions.set('', subscription)
  }

  close(): void {
    for (const subscription of this.#subscriptions.values()) subscription.unsubscribe()
  }

  /** The quotas of a namespace, or of all. */
  list(namespace = ''): Quota[] {
    return this.#quotas.list(namespace)
  }

  /** What is used of everything a quota names. */
  usedOf(quota: Quota): Record<string, string> {
    const used = Object.keys(quota.spec?.hard ?? {}).map((name) => {
      const collection = collectionOf(name)
      const tally = collection === undefined ? undefined : this.#tally(collection, quota.metadata.namespace ?? '')
      return [name, renderAmount(name, tally?.usedOf(quota)[name] ?? 0)]
    })
    return Object.fromEntries(used) as Record<string, string>
  }

  /** Counts a write against the quotas of its namespace, or throws 403. */
  admit({ resource, subresource, object, old }: Write, reservation: Reservation): void {
    const { namespace = '', name = '' } = object.metadata
    if (namespace === '' || subresource !== '') return
    const all = this.#quotas.list(namespace)
    if (all.length === 0) return
    const { collection, info } = resource
    const named = all.filter((quota) => namesOf(quota, collection).length > 0)
    if (named.length === 0) return
    const after = usageOf(collection, object, this.#now())
    const delta = old === undefined ? after : difference(after, usageOf(collection, old, this.#now()))
    const tally = this.#tally(collection, namespace)
    for (const quota of named) {
      if (!isInScope(quota, collection, object)) continue
      const obstacle =
        (collection === 'pods' ? obstacleOfMissing(quota, object) : undefined) ??
        // One that was not counted by this quota before comes with all it uses.
        obstacleOf(quota, old === undefined || isInScope(quota, collection, old) ? delta : after, tally.usedOf(quota))
      if (obstacle !== undefined) throw forbiddenObject(info, name, obstacle)
    }
    const id = idOf(namespace, name)
    tally.set(id, object)
    reservation.add(() => tally.set(id, this.#read(collection, id)))
  }

  #tally(collection: string, namespace: string): Tally {
    const key = `${collection} ${namespace}`
    let tally = this.#tallies.get(key)
    if (tally === undefined) {
      tally = new Tally(collection, this.#now)
      for (const entry of this.#store.list(collection, { prefix: `${namespace}/` })) {
        tally.set(entry.id, this.#read(collection, entry.id))
      }
      this.#tallies.set(key, tally)
      this.#follow(collection)
    }
    return tally
  }

  #follow(collection: string): void {
    if (this.#subscriptions.has(collection)) return
    const subscription = this.#store.subscribe(collection, undefined, ({ entry, operation }) => {
      const namespace = namespaceOf(entry.id)
      const tally = this.#tallies.get(`${collection} ${namespace}`)
      if (tally === undefined) return
      tally.set(entry.id, operation === 'put' ? parse(entry.bytes) : undefined)
      this.onChange(namespace)
    })
    this.#subscriptions.set(collection, subscription)
  }

  #forget(namespace: string): void {
    for (const key of this.#tallies.keys()) if (key.endsWith(` ${namespace}`)) this.#tallies.delete(key)
  }

  #read(collection: string, id: string): KubeObject | undefined {
    const entry = this.#store.get(collection, id)
    return entry === undefined ? undefined : parse(entry.bytes)
  }
}

/** The names of a quota that count objects of a collection. */
function namesOf({ spec }: Quota, collection: string): string[] {
  return Object.keys(spec?.hard ?? {}).filter((name) => collectionOf(name) === collection)
}

function obstacleOfMissing(quota: Quota, object: KubeObject): string | undefined {
  const missing = missingOf(object as KubeObject & Pod, Object.keys(quota.spec?.hard ?? {}))
  return missing === '' ? undefined : `failed quota: ${quota.metadata.name}: must specify ${missing}`
}

function obstacleOf(quota: Quota, delta: Amounts, used: Amounts): string | undefined {
  const hard = quota.spec?.hard ?? {}
  const exceeded = Object.keys(hard)
    .filter((name) => (delta[name] ?? 0) > 0 && (used[name] ?? 0) + (delta[name] ?? 0) > amountOf(hard[name]))
    .toSorted()
  if (exceeded.length === 0) return undefined
  const show = (amounts: Amounts): string =>
    exceeded.map((name) => `${name}=${renderAmount(name, amounts[name] ?? 0)}`).join(',')
  const limited = exceeded.map((name) => `${name}=${hard[name]}`).join(',')
  const { name } = quota.metadata
  return `exceeded quota: ${name}, requested: ${show(delta)}, used: ${show(used)}, limited: ${limited}`
}

function namespaceOf(id: string): string {
  return id.slice(0, Math.max(id.indexOf('/'), 0))
}

/** What is counted of custom resources does not depend on their version. */
function parse(bytes: Buffer): KubeObject {
  return JSON.parse(bytes.toString('utf8')) as KubeObject
}
