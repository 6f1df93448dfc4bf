import type { StatefulSet } from '@fairlead/kube/types/apps-v1'
import type { PersistentVolumeClaim, Pod, PodTemplateSpec } from '@fairlead/kube/types/core-v1'

import { revisionLabel } from '../controller-revision.ts'
import { controllerReference } from '../ownership.ts'

const podNameLabel = 'statefulset.kubernetes.io/pod-name'
const podIndexLabel = 'apps.kubernetes.io/pod-index'

/** The ordinal in a pod's name; undefined for a pod of another name, which is never the set's. */
export function ordinalOf(set: StatefulSet, pod: Pod): number | undefined {
  const match = /^(.*)-(\d+)$/.exec(pod.metadata?.name ?? '')
  return match?.[1] === set.metadata?.name && match !== null ? Number(match[2]) : undefined
}

/** The ordinals a set asks for, from `first` to before `end`. */
export function ordinalsOf({ spec }: StatefulSet): { readonly first: number; readonly end: number } {
  const first = spec?.ordinals?.start ?? 0
  return { first, end: first + (spec?.replicas ?? 1) }
}

export function isInRange(set: StatefulSet, ordinal: number): boolean {
  const { first, end } = ordinalsOf(set)
  return ordinal >= first && ordinal < end
}

function podNameOf(set: StatefulSet, ordinal: number): string {
  return `${set.metadata?.name ?? ''}-${ordinal}`
}

/** The pod of an ordinal: its name, host name and claims are the same for each pod that ever has it. */
export function renderPod(
  set: StatefulSet,
  ordinal: number,
  { template, revision }: { readonly template: PodTemplateSpec; readonly revision: string },
): Pod {
  const name = podNameOf(set, ordinal)
  const claims = (set.spec?.volumeClaimTemplates ?? []).map(({ metadata }) => ({
    name: metadata?.name ?? '',
    persistentVolumeClaim: { claimName: `${metadata?.name ?? ''}-${name}`, readOnly: false },
  }))
  const claimed = new Set(claims.map((volume) => volume.name))
  const others = (template.spec?.volumes ?? []).filter((volume) => !claimed.has(volume.name))
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: set.metadata?.namespace,
      labels: { ...template.metadata?.labels, ...identityLabels(name, ordinal), [revisionLabel]: revision },
      annotations: { ...template.metadata?.annotations },
      finalizers: [...(template.metadata?.finalizers ?? [])],
      ownerReferences: [controllerReference(set)],
    },
    spec: {
      containers: [],
      ...template.spec,
      hostname: name,
      ...(set.spec?.serviceName !== undefined && { subdomain: set.spec.serviceName }),
      ...(claims.length + others.length > 0 && { volumes: [...claims, ...others] }),
    },
  }
}

function identityLabels(name: string, ordinal: number): Record<string, string> {
  return { [podNameLabel]: name, [podIndexLabel]: String(ordinal) }
}

/** The labels a pod lacks to be known by its ordinal; undefined when it has them. */
export function missingLabels(set: StatefulSet, pod: Pod, ordinal: number): Record<string, string> | undefined {
  const wanted = identityLabels(podNameOf(set, ordinal), ordinal)
  const lacks = Object.entries(wanted).some(([key, value]) => pod.metadata?.labels?.[key] !== value)
  return lacks ? wanted : undefined
}

/** The claims of an ordinal, as they are made when they are missing. */
export function renderClaims(set: StatefulSet, ordinal: number): PersistentVolumeClaim[] {
  return (set.spec?.volumeClaimTemplates ?? []).map(({ metadata, spec }) => ({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      name: `${metadata?.name ?? ''}-${podNameOf(set, ordinal)}`,
      namespace: set.metadata?.namespace,
      labels: { ...metadata?.labels, ...set.spec?.selector.matchLabels },
      annotations: { ...metadata?.annotations },
    },
    spec,
  }))
}
