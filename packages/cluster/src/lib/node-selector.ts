import type { Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod } from '@fairlead/kube/types/core-v1'

import { labelOf, meetsRequirement } from './label-selector.ts'

/** Whether a node is one the pod's nodeSelector and required node affinity allow. */
export function matchesRequired(pod: Pod, node: Node): boolean {
  const wanted = pod.spec?.nodeSelector
  const required = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution
  if (wanted === undefined && required === undefined) return true
  const labels = node.metadata?.labels
  return (
    Object.entries(wanted ?? {}).every(([key, value]) => labels?.[key] === value) &&
    (required === undefined || matchesNodeSelector(required, node))
  )
}

/** Whether a node fulfils one of the terms. */
export function matchesNodeSelector({ nodeSelectorTerms }: NodeSelector, node: Node): boolean {
  return nodeSelectorTerms.some((term) => matchesTerm(term, node))
}

/** The weights of the preferred node affinities a node fulfils, added up. */
export function preferenceOf(pod: Pod, node: Node): number {
  const preferred = pod.spec?.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []
  return preferred
    .filter(({ preference }) => matchesTerm(preference, node))
    .reduce((total, { weight }) => total + weight, 0)
}

/** A term without requirements matches nothing. */
function matchesTerm({ matchExpressions = [], matchFields = [] }: NodeSelectorTerm, { metadata }: Node): boolean {
  return (
    matchExpressions.length + matchFields.length > 0 &&
    matchExpressions.every((requirement) =>
      matchesRequirement(requirement, labelOf(metadata?.labels, requirement.key)),
    ) &&
    matchFields.every(
      (requirement) => requirement.key === 'metadata.name' && matchesRequirement(requirement, metadata?.name),
    )
  )
}

function matchesRequirement(requirement: NodeSelectorRequirement, value: string | undefined): boolean {
  const [bound] = requirement.values ?? []
  if (requirement.operator === 'Gt') return isNumber(value) && Number(value) > Number(bound)
  if (requirement.operator === 'Lt') return isNumber(value) && Number(value) < Number(bound)
  return meetsRequirement(requirement, value)
}

function isNumber(value: string | undefined): boolean {
  return value !== undefined && /^-?\d+$/.test(value)
}
