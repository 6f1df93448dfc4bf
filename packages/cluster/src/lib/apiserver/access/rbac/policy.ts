import type { KubeObject } from '@fairlead/kube/types'
import type { PolicyRule, RoleRef, Subject } from '@fairlead/kube/types/rbac-v1'

import type { Entry } from '../../../storage/collection.ts'
import type { Store, Subscription } from '../../../storage/store.ts'
import type { Identity } from '../../exchange.ts'
import type { Attributes, Decision } from '../attributes.ts'
import { BindingIndex } from './binding-index.ts'
import type { Binding } from './binding-index.ts'
import { allows } from './rules.ts'

/** Rules that apply to somebody, and what stood in the way of finding all of them. */
export interface ResolvedRules {
  readonly rules: PolicyRule[]
  readonly errors: string[]
}

const group = 'rbac.authorization.k8s.io'

/**
 * What the Role, ClusterRole and Binding objects of a store allow: parsed once per version, indexed by subject and
 * current at the moment a write becomes visible. A decision reads maps only.
 */
export class RbacPolicy {
  readonly #clusterRoles = new Map<string, readonly PolicyRule[]>()
  /** By `namespace/name`. */
  readonly #roles = new Map<string, readonly PolicyRule[]>()
  readonly #bindings = new BindingIndex()
  readonly #subscriptions: Subscription[]

  constructor(store: Store) {
    this.#subscriptions = [
      follow(store, 'clusterroles', (id, object) => setRules(this.#clusterRoles, id, object)),
      follow(store, 'roles', (id, object) => setRules(this.#roles, id, object)),
      follow(store, 'clusterrolebindings', (id, object) => this.#bindings.set('cluster', id, toBinding(object))),
      follow(store, 'rolebindings', (id, object) => this.#bindings.set('namespace', id, toBinding(object))),
    ]
  }

  close(): void {
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
  }

  authorize(identity: Identity, asked: Attributes): Decision {
    let missing: Set<string> | undefined
    for (const [subject, binding] of this.#bindings.of(identity, asked.namespace)) {
      const rules = this.rulesOf(binding.roleRef, binding.namespace)
      if (rules === undefined) (missing ??= new Set()).add(unresolved(binding.roleRef))
      else for (const rule of rules) if (allows(rule, asked)) return new Allowed(binding, subject)
    }
    return missing === undefined ? noOpinion : { allowed: false, reason: `RBAC: ${aggregate([...missing])}` }
  }

  /** Every rule that applies to `identity` in `namespace`, those for the whole cluster first. */
  rulesFor(identity: Identity, namespace: string): ResolvedRules {
    const errors = new Set<string>()
    const seen = new Set<Binding>()
    const found: PolicyRule[] = []
    for (const [, binding] of this.#bindings.of(identity, namespace)) {
      if (seen.has(binding)) continue
      seen.add(binding)
      const rules = this.rulesOf(binding.roleRef, binding.namespace)
      if (rules === undefined) errors.add(unresolved(binding.roleRef))
      else found.push(...rules)
    }
    return { rules: found, errors: [...errors] }
  }

  /** The rules a binding in `namespace` (empty: for the cluster) gives; undefined when the role is not there. */
  rulesOf({ kind, name }: RoleRef, namespace: string): readonly PolicyRule[] | undefined {
    return kind === 'Role' ? this.#roles.get(`${namespace}/${name}`) : this.#clusterRoles.get(name)
  }
}

/** `[a, b]`, as Go joins several errors. */
export function aggregate(errors: readonly string[]): string {
  return errors.length === 1 ? (errors[0] ?? '') : `[${errors.join(', ')}]`
}

/** `role.rbac.authorization.k8s.io "x" not found`. */
function unresolved({ kind, name }: RoleRef): string {
  return `${kind.toLowerCase()}.${group} ${JSON.stringify(name)} not found`
}

const noOpinion: Decision = { allowed: false, reason: '' }

/** The text is made for audit logs and reviews only: most decisions are never read. */
class Allowed implements Decision {
  readonly allowed = true
  readonly #binding: Binding
  readonly #subject: Subject

  constructor(binding: Binding, subject: Subject) {
    this.#binding = binding
    this.#subject = subject
  }

  get reason(): string {
    const { name, namespace, roleRef } = this.#binding
    const kind = namespace === '' ? 'ClusterRoleBinding' : 'RoleBinding'
    const shown = namespace === '' ? name : `${name}/${namespace}`
    const role = `${roleRef.kind} ${JSON.stringify(roleRef.name)}`
    return `RBAC: allowed by ${kind} ${JSON.stringify(shown)} of ${role} to ${describeSubject(this.#subject, namespace)}`
  }
}

function describeSubject({ kind, name, namespace }: Subject, bindingNamespace: string): string {
  const full = kind === 'ServiceAccount' ? `${name}/${namespace ?? bindingNamespace}` : name
  return `${kind} ${JSON.stringify(full)}`
}

/** Tells `set` of every object there is and of every later change; without an object it is gone. */
function follow(store: Store, plural: string, set: (id: string, object: KubeObject | undefined) => void): Subscription {
  const collection = `${group}/${plural}`
  for (const entry of store.list(collection)) set(entry.id, parse(entry))
  return store.subscribe(collection, undefined, ({ operation, entry }) =>
    set(entry.id, operation === 'put' ? parse(entry) : undefined),
  )
}

function parse(entry: Entry): KubeObject {
  return JSON.parse(entry.bytes.toString('utf8')) as KubeObject
}

function setRules(roles: Map<string, readonly PolicyRule[]>, id: string, object: KubeObject | undefined): void {
  if (object === undefined) roles.delete(id)
  else roles.set(id, (object['rules'] as PolicyRule[] | null | undefined) ?? [])
}

function toBinding(object: KubeObject | undefined): Binding | undefined {
  if (object === undefined) return undefined
  const { name = '', namespace = '' } = object.metadata
  const subjects = (object['subjects'] as Subject[] | null | undefined) ?? []
  return { name, namespace, roleRef: object['roleRef'] as RoleRef, subjects }
}
