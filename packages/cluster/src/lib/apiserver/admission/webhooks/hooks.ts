import type { KubeObject } from '@fairlead/kube/types'
import type { MutatingWebhook, ValidatingWebhook } from '@fairlead/kube/types/admissionregistration-v1'

import type { Store, Subscription } from '../../../storage/store.ts'
import { isEqual } from '../../metadata.ts'
import { knownResource, readObject } from '../../resource.ts'
import type { MatchCriteria } from '../match.ts'
import { compileConditions } from '../policies/conditions.ts'
import type { Conditions } from '../policies/conditions.ts'
import { WebhookClient } from './client.ts'
import type { ServiceResolver } from './service-address.ts'

type Webhook = MutatingWebhook & ValidatingWebhook

/** One webhook, ready to be called. */
export interface Hook {
  /** Of the configuration it stands in. */
  readonly configuration: string
  readonly webhook: Webhook
  readonly criteria: MatchCriteria
  readonly conditions: Conditions
  readonly client: WebhookClient
}

/** The webhooks of all configurations of one kind, in the order they are called: by the names of the configurations. */
export class Hooks {
  readonly #store: Store
  readonly #kind
  readonly #resolve: ServiceResolver
  readonly #subscription: Subscription
  #hooks: readonly Hook[] | undefined
  #known: readonly Hook[] = []

  constructor(store: Store, plural: string, resolve: ServiceResolver) {
    this.#store = store
    this.#resolve = resolve
    this.#kind = knownResource('admissionregistration.k8s.io', 'v1', plural)
    this.#subscription = store.subscribe(this.#kind.collection, undefined, () => {
      this.#hooks = undefined
    })
  }

  close(): void {
    this.#subscription.unsubscribe()
    for (const { client } of this.#known) client.close()
  }

  all(): readonly Hook[] {
    if (this.#hooks !== undefined) return this.#hooks
    const hooks = this.#load()
    const kept = new Set(hooks.map(({ client }) => client))
    for (const { client } of this.#known) if (!kept.has(client)) client.close()
    this.#known = hooks
    this.#hooks = hooks
    return hooks
  }

  #load(): Hook[] {
    const configurations = [...this.#store.list(this.#kind.collection)].map((entry) => readObject(this.#kind, entry))
    return configurations
      .toSorted((a, b) => ((a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1))
      .flatMap((configuration) => this.#hooksOf(configuration))
  }

  #hooksOf(object: KubeObject): Hook[] {
    const { name: configuration = '' } = object.metadata
    return ((object['webhooks'] ?? []) as Webhook[]).map((webhook) => {
      const known = this.#known.find(
        (hook) => hook.configuration === configuration && hook.webhook.name === webhook.name,
      )
      // Connections outlive changes that are not about where they go.
      const isSame = known !== undefined && isEqual(known.webhook.clientConfig, webhook.clientConfig)
      const { rules = [], matchPolicy, namespaceSelector, objectSelector } = webhook
      return {
        configuration,
        webhook,
        criteria: { rules, matchPolicy, namespaceSelector, objectSelector },
        conditions: compileConditions(webhook.matchConditions ?? []),
        client: isSame ? known.client : new WebhookClient(webhook.clientConfig, this.#resolve),
      }
    })
  }
}
