import type { Pod, PodAffinityTerm } from '@fairlead/kube/types/core-v1'

import { matchesSelector } from '../label-selector.ts'
import type { Labels } from '../label-selector.ts'
import { withKeys } from './label-keys.ts'
import type { NodeView } from './node-view.ts'
import { defineRejection, noRejections } from './rejection.ts'
import type { Rejection } from './rejection.ts'

/** The labels of a namespace, for terms that select namespaces. */
export type NamespaceLabels = (name: string) => Labels | undefined

/** What pods that are there mean for one that is to be placed. */
export interface PodRelations {
  /** Why the pod cannot be on a node; empty when it can. */
  readonly rejectionsOf: (view: NodeView) => readonly Rejection[]
  /** How much it is drawn to a node; any number. */
  readonly attractionOf: (view: NodeView) => number
}

const lonely = [defineRejection('InterPodAffinity', "node(s) didn't match pod affinity rules", { isFinal: true })]
const shunned = [
  defineRejection('InterPodAffinity', "node(s) didn't match pod anti-affinity rules", { isFinal: false }),
]
const unwelcome = [
  defineRejection('InterPodAffinity', "node(s) didn't satisfy existing pods anti-affinity rules", { isFinal: false }),
]

/** Pods that are there because they must be near others count a little for those others. */
const requiredWeight = 1

export function hasPodAffinity({ spec }: Pod): boolean {
  return spec?.affinity?.podAffinity !== undefined || spec?.affinity?.podAntiAffinity !== undefined
}

/** Inter-pod affinity and anti-affinity, in both directions: what the pod asks of others, and they of it. Undefined when neither asks for anything. */
export function relate(pod: Pod, views: readonly NodeView[], namespaces: NamespaceLabels): PodRelations | undefined {
  const isAsking = hasPodAffinity(pod)
  if (!isAsking && views.every(({ relatedPods }) => relatedPods.size === 0)) return undefined
  const required = requiredTerms(pod)
  const counts = { near: new Pairs(), far: new Pairs(), refused: new Pairs(), drawn: new Pairs() }
  for (const view of views) {
    for (const other of view.relatedPods) noteWishes(other, pod, { view, counts, namespaces })
    if (!isAsking) continue
    for (const other of view.pods) noteOwn(pod, other, { view, counts, namespaces })
  }
  const isFirst = counts.near.isEmpty && matchesAll(required.near, pod, pod, namespaces)
  return {
    rejectionsOf(view) {
      const hasPlace = ({ topologyKey }: PodAffinityTerm): boolean => labelOf(view, topologyKey) !== undefined
      const isNear = required.near.every(
        (term) => hasPlace(term) && (isFirst || counts.near.at(view, term.topologyKey) > 0),
      )
      if (!isNear) return lonely
      if (required.far.some(({ topologyKey }) => counts.far.at(view, topologyKey) > 0)) return shunned
      return counts.refused.sumAt(view) > 0 ? unwelcome : noRejections
    },
    attractionOf: (view) => counts.drawn.sumAt(view),
  }
}

interface Scene {
  readonly view: NodeView
  readonly counts: Readonly<Record<'near' | 'far' | 'refused' | 'drawn', Pairs>>
  readonly namespaces: NamespaceLabels
}

/** What a pod that is there asks of the one to be placed. */
function noteWishes(other: Pod, pod: Pod, { view, counts, namespaces }: Scene): void {
  const { podAffinity, podAntiAffinity } = other.spec?.affinity ?? {}
  const isMeant = (term: PodAffinityTerm): boolean => matchesTerm(term, other, pod, namespaces)
  for (const term of requiredTerms(other).far) if (isMeant(term)) counts.refused.add(view, term.topologyKey, 1)
  for (const term of requiredTerms(other).near)
    if (isMeant(term)) counts.drawn.add(view, term.topologyKey, requiredWeight)
  for (const { weight, podAffinityTerm } of podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []) {
    if (isMeant(podAffinityTerm)) counts.drawn.add(view, podAffinityTerm.topologyKey, weight)
  }
  for (const { weight, podAffinityTerm } of podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []) {
    if (isMeant(podAffinityTerm)) counts.drawn.add(view, podAffinityTerm.topologyKey, -weight)
  }
}

/** What the pod to be placed asks of one that is there. */
function noteOwn(pod: Pod, other: Pod, { view, counts, namespaces }: Scene): void {
  const { near, far } = requiredTerms(pod)
  const { podAffinity, podAntiAffinity } = pod.spec?.affinity ?? {}
  const isMeant = (term: PodAffinityTerm): boolean => matchesTerm(term, pod, other, namespaces)
  // A pod counts for affinity only when all terms mean it.
  if (near.length > 0 && matchesAll(near, pod, other, namespaces)) {
    for (const { topologyKey } of near) counts.near.add(view, topologyKey, 1)
  }
  for (const term of far) if (isMeant(term)) counts.far.add(view, term.topologyKey, 1)
  for (const { weight, podAffinityTerm } of podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []) {
    if (isMeant(podAffinityTerm)) counts.drawn.add(view, podAffinityTerm.topologyKey, weight)
  }
  for (const { weight, podAffinityTerm } of podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []) {
    if (isMeant(podAffinityTerm)) counts.drawn.add(view, podAffinityTerm.topologyKey, -weight)
  }
}

function requiredTerms({ spec }: Pod): { near: readonly PodAffinityTerm[]; far: readonly PodAffinityTerm[] } {
  return {
    near: spec?.affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [],
    far: spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [],
  }
}

function matchesAll(terms: readonly PodAffinityTerm[], owner: Pod, other: Pod, namespaces: NamespaceLabels): boolean {
  return terms.every((term) => matchesTerm(term, owner, other, namespaces))
}

/** Whether a term of `owner` means `other`. */
function matchesTerm(term: PodAffinityTerm, owner: Pod, other: Pod, namespaces: NamespaceLabels): boolean {
  const { labelSelector, matchLabelKeys, mismatchLabelKeys } = term
  const namespace = other.metadata?.namespace ?? ''
  const isPlain = (term.namespaces ?? []).length === 0 && term.namespaceSelector === undefined
  const isThere = isPlain
    ? namespace === (owner.metadata?.namespace ?? '')
    : (term.namespaces ?? []).includes(namespace) || matchesSelector(term.namespaceSelector, namespaces(namespace))
  const labels = owner.metadata?.labels
  const selector = withKeys(labelSelector, labels, { matchLabelKeys, mismatchLabelKeys })
  return isThere && matchesSelector(selector, other.metadata?.labels)
}

function labelOf({ node }: NodeView, key: string): string | undefined {
  return node.metadata?.labels?.[key]
}

/** Numbers by topology key and value. */
class Pairs {
  readonly #byKey = new Map<string, Map<string, number>>()

  get isEmpty(): boolean {
    return this.#byKey.size === 0
  }

  add(view: NodeView, key: string, amount: number): void {
    const value = labelOf(view, key)
    if (value === undefined) return
    const byValue = this.#byKey.get(key) ?? new Map<string, number>()
    this.#byKey.set(key, byValue)
    byValue.set(value, (byValue.get(value) ?? 0) + amount)
  }

  at(view: NodeView, key: string): number {
    return this.#byKey.get(key)?.get(labelOf(view, key) ?? '') ?? 0
  }

  sumAt(view: NodeView): number {
    return [...this.#byKey.keys()].reduce((total, key) => total + this.at(view, key), 0)
  }
}
