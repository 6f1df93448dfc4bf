import type { RoleRef, Subject } from '@fairlead/kube/types/rbac-v1'

import type { Identity } from '../../exchange.ts'

/** A RoleBinding, or a ClusterRoleBinding, which has no namespace. */
export interface Binding {
  readonly name: string
  readonly namespace: string
  readonly roleRef: RoleRef
  readonly subjects: readonly Subject[]
}

/** A binding, with the subject of it that matched. */
export type Bound = readonly [Subject, Binding]

/** Bindings by the subjects they name. */
export class BindingIndex {
  readonly #cluster = new Subjects()
  readonly #namespaces = new Map<string, Subjects>()
  readonly #known = new Map<string, Binding>()

  /** Puts the binding `id` in place of the one that was; without a binding it is gone. */
  set(scope: 'cluster' | 'namespace', id: string, binding: Binding | undefined): void {
    const key = `${scope} ${id}`
    const old = this.#known.get(key)
    if (old !== undefined) this.#subjects(old.namespace).remove(old)
    if (binding === undefined) this.#known.delete(key)
    else {
      this.#known.set(key, binding)
      this.#subjects(binding.namespace).add(binding)
    }
  }

  /** Bindings that apply to `identity`: those of the cluster, then those of `namespace`. */
  *of(identity: Identity, namespace: string): Iterable<Bound> {
    yield* this.#cluster.of(identity)
    if (namespace === '') return
    const subjects = this.#namespaces.get(namespace)
    if (subjects !== undefined) yield* subjects.of(identity)
  }

  #subjects(namespace: string): Subjects {
    if (namespace === '') return this.#cluster
    let subjects = this.#namespaces.get(namespace)
    if (subjects === undefined) {
      subjects = new Subjects()
      this.#namespaces.set(namespace, subjects)
    }
    return subjects
  }
}

class Subjects {
  readonly #users = new Map<string, Bound[]>()
  readonly #groups = new Map<string, Bound[]>()

  add(binding: Binding): void {
    for (const subject of binding.subjects) {
      const [map, name] = this.#place(subject, binding)
      const bound = map.get(name)
      if (bound === undefined) map.set(name, [[subject, binding]])
      else bound.push([subject, binding])
    }
  }

  remove(binding: Binding): void {
    for (const subject of binding.subjects) {
      const [map, name] = this.#place(subject, binding)
      const left = (map.get(name) ?? []).filter(([, other]) => other !== binding)
      if (left.length === 0) map.delete(name)
      else map.set(name, left)
    }
  }

  *of({ user, groups }: Identity): Iterable<Bound> {
    yield* this.#users.get(user) ?? none
    for (const group of groups) yield* this.#groups.get(group) ?? none
  }

  #place({ kind, name, namespace }: Subject, binding: Binding): [Map<string, Bound[]>, string] {
    if (kind === 'Group') return [this.#groups, name]
    if (kind === 'User') return [this.#users, name]
    return [this.#users, `system:serviceaccount:${namespace ?? binding.namespace}:${name}`]
  }
}

const none: readonly Bound[] = []
