import type { KubeObject } from '@fairlead/kube/types'

import type { Store } from '../../storage/store.ts'
import type { Authorizer } from '../access/authorizer.ts'
import type { Catalogue } from '../catalogue.ts'
import type { Resource } from '../resource.ts'
import type { AdmissionAttributes, Operation } from './attributes.ts'
import type { ConditionContext } from './policies/conditions.ts'
import { isExempt, findMatch } from './rules.ts'
import { equivalentsOf } from './versioned.ts'
import { Hooks } from './webhooks/hooks.ts'
import { mutateByHooks } from './webhooks/mutating.ts'
import type { Revisits } from './webhooks/mutating.ts'
import type { ServiceResolver } from './webhooks/service-address.ts'
import { validateByHooks } from './webhooks/validating.ts'

export interface DynamicAdmissionOptions {
  readonly store: Store
  readonly authorizer: Authorizer
  readonly catalogue: Catalogue
  readonly resolveService: ServiceResolver
}

/** What objects in the store say about requests: webhooks and policies. Nothing is held while they are asked. */
export class DynamicAdmission {
  readonly #context: ConditionContext
  readonly #mutating: Hooks
  readonly #validating: Hooks

  constructor({ store, authorizer, catalogue, resolveService }: DynamicAdmissionOptions) {
    this.#context = { store, authorizer, equivalents: equivalentsOf(catalogue) }
    this.#mutating = new Hooks(store, 'mutatingwebhookconfigurations', resolveService)
    this.#validating = new Hooks(store, 'validatingwebhookconfigurations', resolveService)
  }

  close(): void {
    this.#mutating.close()
    this.#validating.close()
  }

  /** Whether anybody may want to see such requests; without that they take the direct way. */
  applies(operation: Operation, resource: Resource, subresource: string, name: string): boolean {
    const [mutating, validating] = [this.#mutating.all(), this.#validating.all()]
    if (mutating.length === 0 && validating.length === 0) return false
    if (isExempt(resource)) return false
    const target = { operation, resource, subresource, name }
    const { equivalents } = this.#context
    return [...mutating, ...validating].some(
      ({ criteria }) => findMatch(criteria.rules, criteria.matchPolicy, target, equivalents) !== undefined,
    )
  }

  /** The object of a request as webhooks and policies want it; throws the `Status` of a refusal. */
  async mutate(attributes: AdmissionAttributes): Promise<KubeObject | undefined> {
    if (isExempt(attributes.resource)) return attributes.object
    const revisits: Revisits = new Map()
    const hooks = this.#mutating.all()
    const object = await mutateByHooks(this.#context, hooks, attributes, revisits)
    if (revisits.size === 0) return object
    return await mutateByHooks(this.#context, hooks, { ...attributes, object }, new Map(), revisits)
  }

  /** Throws the `Status` of a refusal. */
  async validate(attributes: AdmissionAttributes): Promise<void> {
    if (isExempt(attributes.resource)) return
    await validateByHooks(this.#context, this.#validating.all(), attributes)
  }
}
