import type { KubeObject } from '@fairlead/kube/types'
import type { ResourceQuota } from '@fairlead/kube/types/core-v1'

import { add } from '../plugins/amounts.ts'
import type { Amounts } from '../plugins/amounts.ts'
import { isInScope } from './scopes.ts'
import { usageOf } from './usage.ts'

export type Quota = KubeObject & ResourceQuota

/** What the objects of one collection in one namespace use, those on their way into the store included. */
export class Tally {
  readonly #collection: string
  readonly #now: () => number
  readonly #items = new Map<string, Item>()
  /** By what a quota selects; kept up to date, so that a check does not look at every object. */
  readonly #totals = new Map<string, { readonly quota: Quota; used: Amounts }>()

  constructor(collection: string, now: () => number) {
    this.#collection = collection
    this.#now = now
  }

  /** Counts an object as it is, or will be once its write is done; undefined when it is gone. */
  set(id: string, object: KubeObject | undefined): void {
    const before = this.#items.get(id)
    const item = object === undefined ? undefined : { object, usage: usageOf(this.#collection, object, this.#now()) }
    if (item === undefined) this.#items.delete(id)
    else this.#items.set(id, item)
    for (const total of this.#totals.values()) {
      if (before !== undefined && this.#counts(total.quota, before)) total.used = add(total.used, before.usage, -1)
      if (item !== undefined && this.#counts(total.quota, item)) total.used = add(total.used, item.usage)
    }
  }

  usedOf(quota: Quota): Amounts {
    const { scopes, scopeSelector } = quota.spec ?? {}
    const key = JSON.stringify([scopes, scopeSelector])
    let total = this.#totals.get(key)
    if (total === undefined) {
      total = { quota, used: this.#count(quota) }
      this.#totals.set(key, total)
    }
    return total.used
  }

  #count(quota: Quota): Amounts {
    let used: Amounts = {}
    for (const item of this.#items.values()) if (this.#counts(quota, item)) used = add(used, item.usage)
    return used
  }

  #counts(quota: Quota, { object }: Item): boolean {
    return isInScope(quota, this.#collection, object)
  }
}

interface Item {
  readonly object: KubeObject
  readonly usage: Amounts
}
