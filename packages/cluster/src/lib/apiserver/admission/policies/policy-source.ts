import type { KubeObject } from '@fairlead/kube/types'
import type {
  MatchCondition,
  MatchResources,
  ParamKind,
  ParamRef,
  Variable,
} from '@fairlead/kube/types/admissionregistration-v1'

import type { Store, Subscription } from '../../../storage/store.ts'
import { knownResource } from '../../resource.ts'
import type { Resource } from '../../resource.ts'
import type { AdmissionAttributes } from '../attributes.ts'
import { KeptObjects } from '../kept-objects.ts'
import { matchRequest } from '../match.ts'
import type { MatchCriteria, Matcher } from '../match.ts'
import { findMatch, matchesRule } from '../rules.ts'
import type { Target } from '../rules.ts'

/** What policies of both kinds have in common. */
export interface PolicyObject extends KubeObject {
  readonly spec?: {
    readonly matchConstraints?: MatchResources
    readonly matchConditions?: MatchCondition[]
    readonly paramKind?: ParamKind
    readonly variables?: Variable[]
    readonly failurePolicy?: string
  }
}

export interface BindingObject extends KubeObject {
  readonly spec?: {
    readonly policyName?: string
    readonly paramRef?: ParamRef
    readonly matchResources?: MatchResources
    readonly validationActions?: string[]
  }
}

/** A policy that is in force, compiled, with its bindings. */
export interface ActivePolicy<Compiled> {
  readonly policy: PolicyObject
  readonly bindings: readonly BindingObject[]
  readonly compiled: Compiled
}

/** The policies of one kind that have bindings, by name. Each is compiled once per version. */
export class PolicySource<Compiled> {
  readonly #policies: KeptObjects<PolicyObject>
  readonly #bindings: KeptObjects<BindingObject>
  readonly #compile: (policy: PolicyObject) => Compiled
  readonly #compiled = new WeakMap<PolicyObject, Compiled>()
  readonly #subscriptions: readonly Subscription[]
  #active: readonly ActivePolicy<Compiled>[] | undefined

  constructor(store: Store, plural: string, compile: (policy: PolicyObject) => Compiled) {
    const [policies, bindings] = [resourceOf(plural), resourceOf(`${plural.slice(0, -3)}ybindings`)]
    this.#policies = new KeptObjects(store, policies)
    this.#bindings = new KeptObjects(store, bindings)
    this.#compile = compile
    this.#subscriptions = [policies, bindings].map(({ collection }) =>
      store.subscribe(collection, undefined, () => {
        this.#active = undefined
      }),
    )
  }

  close(): void {
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
  }

  active(): readonly ActivePolicy<Compiled>[] {
    return (this.#active ??= this.#load())
  }

  #load(): ActivePolicy<Compiled>[] {
    const bindings = Map.groupBy(this.#bindings.list(), ({ spec }) => spec?.policyName ?? '')
    return this.#policies
      .list()
      .flatMap((policy) => {
        const bound = bindings.get(policy.metadata.name ?? '')
        return bound === undefined ? [] : [{ policy, bindings: bound, compiled: this.#compiledOf(policy) }]
      })
      .toSorted((a, b) => ((a.policy.metadata.name ?? '') < (b.policy.metadata.name ?? '') ? -1 : 1))
  }

  #compiledOf(policy: PolicyObject): Compiled {
    let compiled = this.#compiled.get(policy)
    if (compiled === undefined) {
      compiled = this.#compile(policy)
      this.#compiled.set(policy, compiled)
    }
    return compiled
  }
}

function resourceOf(plural: string): Resource {
  return knownResource('admissionregistration.k8s.io', 'v1', plural)
}

/** Whether a policy may be about such requests, before anybody looks at objects. */
export function mayMatch(
  { spec }: PolicyObject,
  target: Target,
  { equivalents }: Pick<Matcher, 'equivalents'>,
): boolean {
  const { resourceRules = [], matchPolicy } = spec?.matchConstraints ?? {}
  return findMatch(resourceRules, matchPolicy, target, equivalents) !== undefined
}

/** The resource as which a policy, or one of its bindings, wants to see a request; undefined when it does not. */
export function matchConstraints(
  matcher: Matcher,
  constraints: MatchResources | undefined,
  attributes: AdmissionAttributes,
): Resource | undefined {
  const {
    excludeResourceRules = [],
    resourceRules = [],
    matchPolicy,
    namespaceSelector,
    objectSelector,
  } = constraints ?? {}
  const excluded = excludeResourceRules.some((rule) =>
    [attributes.resource, ...(matchPolicy === 'Exact' ? [] : matcher.equivalents(attributes.resource))].some(
      (resource) => matchesRule(rule, attributes, resource),
    ),
  )
  if (excluded) return undefined
  const rules = resourceRules.length === 0 ? everything : resourceRules
  const criteria: MatchCriteria = { rules, matchPolicy, namespaceSelector, objectSelector }
  return matchRequest(matcher, criteria, attributes)
}

/** A binding without rules is about whatever its policy is about. */
const everything = [{ apiGroups: ['*'], apiVersions: ['*'], operations: ['*'], resources: ['*', '*/*'] }]
