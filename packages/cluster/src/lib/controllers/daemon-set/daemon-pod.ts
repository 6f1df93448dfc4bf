import type { DaemonSet } from '@fairlead/kube/types/apps-v1'
import type { Affinity, Node, Pod, Taint, Toleration } from '@fairlead/kube/types/core-v1'

import { toleratesTaint } from '../../tolerations.ts'
import { matchesRequired } from '../../node-selector.ts'
import { revisionLabel } from '../controller-revision.ts'
import { controllerReference } from '../ownership.ts'

/** Counts the templates of a DaemonSet; of old, and still what the pods of old ones are known by. */
const generationAnnotation = 'deprecated.daemonset.template.generation'
const generationLabel = 'pod-template-generation'
const nameField = 'metadata.name'

/** The pod of a DaemonSet for one node; the scheduler puts it there, whatever else the node lacks. */
export function renderPod(set: DaemonSet, nodeName: string, hash: string): Pod {
  const { name = '', namespace, annotations } = set.metadata ?? {}
  const template = set.spec?.template
  const generation = annotations?.[generationAnnotation]
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      generateName: `${name}-`,
      namespace,
      labels: {
        ...template?.metadata?.labels,
        ...(generation !== undefined && { [generationLabel]: generation }),
        [revisionLabel]: hash,
      },
      annotations: { ...template?.metadata?.annotations },
      finalizers: [...(template?.metadata?.finalizers ?? [])],
      ownerReferences: [controllerReference(set)],
    },
    spec: {
      containers: [],
      ...template?.spec,
      affinity: onNode(template?.spec?.affinity, nodeName),
      tolerations: withTolerations(template?.spec?.tolerations, template?.spec?.hostNetwork === true),
    },
  }
}

/** What the affinity asked of nodes has been checked already: the name is all that is left. */
function onNode(affinity: Affinity | undefined, nodeName: string): Affinity {
  const matchFields = [{ key: nameField, operator: 'In', values: [nodeName] }]
  const required = { nodeSelectorTerms: [{ matchFields }] }
  return {
    ...affinity,
    nodeAffinity: { ...affinity?.nodeAffinity, requiredDuringSchedulingIgnoredDuringExecution: required },
  }
}

/** The node a pod is on, or is meant for. */
export function nodeNameOf({ spec }: Pod): string | undefined {
  if (spec?.nodeName !== undefined && spec.nodeName !== '') return spec.nodeName
  const terms = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? []
  const field = terms.flatMap(({ matchFields = [] }) => matchFields).find(({ key }) => key === nameField)
  return field?.operator === 'In' ? field.values?.[0] : undefined
}

function withTolerations(own: readonly Toleration[] | undefined, isHostNetwork: boolean): Toleration[] {
  const wanted = isHostNetwork ? [...tolerated, noNetwork] : tolerated
  const isSame = (a: Toleration, b: Toleration): boolean =>
    a.key === b.key && a.effect === b.effect && a.operator === b.operator && (a.value ?? '') === (b.value ?? '')
  const others = (own ?? []).filter((one) => !wanted.some((other) => isSame(one, other)))
  return [...others, ...wanted]
}

/** A daemon stays where others would have to leave. */
const tolerated: readonly Toleration[] = [
  ['not-ready', 'NoExecute'],
  ['unreachable', 'NoExecute'],
  ['disk-pressure', 'NoSchedule'],
  ['memory-pressure', 'NoSchedule'],
  ['pid-pressure', 'NoSchedule'],
  ['unschedulable', 'NoSchedule'],
].map(([name, effect]) => ({ key: `node.kubernetes.io/${name}`, operator: 'Exists', effect }))
const noNetwork: Toleration = {
  key: 'node.kubernetes.io/network-unavailable',
  operator: 'Exists',
  effect: 'NoSchedule',
}

/** Whether a node is to have a pod of the set, and whether one that is there may stay. */
export function judgeNode(set: DaemonSet, node: Node): { readonly shouldRun: boolean; readonly mayStay: boolean } {
  const spec = set.spec?.template.spec
  const isNamed = (spec?.nodeName ?? '') !== '' && spec?.nodeName !== node.metadata?.name
  if (isNamed || !matchesRequired({ ...(spec !== undefined && { spec }) }, node)) {
    return { shouldRun: false, mayStay: false }
  }
  const tolerations = withTolerations(spec?.tolerations, spec?.hostNetwork === true)
  const untolerated = (node.spec?.taints ?? []).filter(
    (taint) => !tolerations.some((one) => toleratesTaint(one, taint)),
  )
  const has = (...effects: readonly string[]): boolean =>
    untolerated.some(({ effect }: Taint) => effects.includes(effect))
  return { shouldRun: !has('NoSchedule', 'NoExecute'), mayStay: !has('NoExecute') }
}

/** Whether a pod is of the template with this hash. */
export function isUpdated(set: DaemonSet, pod: Pod, hash: string): boolean {
  const generation = set.metadata?.annotations?.[generationAnnotation]
  const labels = pod.metadata?.labels
  return labels?.[revisionLabel] === hash || (generation !== undefined && labels?.[generationLabel] === generation)
}
