import type { KubeObject } from '@fairlead/kube/types'

import type { Store } from '../../storage/store.ts'
import type { Authorizer } from '../access/authorizer.ts'
import type { Catalogue } from '../catalogue.ts'
import type { Resource } from '../resource.ts'
import type { AdmissionAttributes, Operation } from './attributes.ts'
import { compileMutations, mutateByPolicies } from './policies/mutating.ts'
import type { CompiledMutations } from './policies/mutating.ts'
import { mayMatch, PolicySource } from './policies/policy-source.ts'
import { compileValidations, validateByPolicies } from './policies/validating.ts'
import type { CompiledValidations, PolicyContext } from './policies/validating.ts'
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
  readonly #context: PolicyContext
  readonly #mutating: Hooks
  readonly #validating: Hooks
  readonly #mutations: PolicySource<CompiledMutations>
  readonly #validations: PolicySource<CompiledValidations>

  constructor({ store, authorizer, catalogue, resolveService }: DynamicAdmissionOptions) {
    this.#context = { store, authorizer, catalogue, equivalents: equivalentsOf(catalogue) }
    this.#mutating = new Hooks(store, 'mutatingwebhookconfigurations', resolveService)
    this.#validating = new Hooks(store, 'validatingwebhookconfigurations', resolveService)
    this.#mutations = new PolicySource(store, 'mutatingadmissionpolicies', compileMutations)
    this.#validations = new PolicySource(store, 'validatingadmissionpolicies', compileValidations)
  }

  close(): void {
    for (const each of [this.#mutating, this.#validating, this.#mutations, this.#validations]) each.close()
  }

  /** Whether anybody may want to see such requests; without that they take the direct way. */
  applies(operation: Operation, resource: Resource, subresource: string, name: string): boolean {
    const [mutating, validating] = [this.#mutating.all(), this.#validating.all()]
    const [mutations, validations] = [this.#mutations.active(), this.#validations.active()]
    if (mutating.length + validating.length + mutations.length + validations.length === 0) return false
    if (isExempt(resource)) return false
    const target = { operation, resource, subresource, name }
    const context = this.#context
    const isWanted = ({ criteria }: (typeof mutating)[number]): boolean =>
      findMatch(criteria.rules, criteria.matchPolicy, target, context.equivalents) !== undefined
    if (mutating.some(isWanted) || validating.some(isWanted)) return true
    return [...mutations, ...validations].some(({ policy }) => mayMatch(policy, target, context))
  }

  /** The object of a request as policies and webhooks want it; throws the `Status` of a refusal. */
  async mutate(attributes: AdmissionAttributes): Promise<KubeObject | undefined> {
    if (isExempt(attributes.resource)) return attributes.object
    const made = mutateByPolicies(this.#context, this.#mutations.active(), attributes)
    const revisits: Revisits = new Map()
    const hooks = this.#mutating.all()
    const object = await mutateByHooks(this.#context, hooks, { ...attributes, object: made }, revisits)
    if (revisits.size === 0) return object
    return await mutateByHooks(this.#context, hooks, { ...attributes, object }, new Map(), revisits)
  }

  /** Throws the `Status` of a refusal. */
  async validate(attributes: AdmissionAttributes): Promise<void> {
    if (isExempt(attributes.resource)) return
    validateByPolicies(this.#context, this.#validations.active(), attributes)
    await validateByHooks(this.#context, this.#validating.all(), attributes)
  }
}
