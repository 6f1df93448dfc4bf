import type { ObjectMeta } from '@fairlead/kube/types'
import type { DaemonSet, Deployment, ReplicaSet, StatefulSet } from '@fairlead/kube/types/apps-v1'
import type { PodTemplate, PodTemplateSpec, ReplicationController } from '@fairlead/kube/types/core-v1'

import { isEqual } from '../metadata.ts'
import { defineKind, defineRules } from './define.ts'
import type { Rules } from './define.ts'
import { forbidden, invalid, nonNegative, required } from './field-errors.ts'
import { dnsLabel } from './names.ts'
import { defaultClaimSpec, defaultPodSpec } from './pod-defaults.ts'
import { validatePodTemplate } from './pod-validation.ts'
import {
  age,
  ageColumn,
  column,
  containerCells,
  containerColumns,
  formatLabels,
  formatSelector,
  nameColumn,
  wideColumn,
} from './printing.ts'
import { matchesSelector, validateWorkloadSelector } from './selectors.ts'
import {
  oneTypeOf,
  validateDeadline,
  validateRolling,
  validateStatefulPolicies,
  validateStatefulTemplate,
  validateSurge,
  validateWorkload,
} from './workload-rules.ts'
import type { KindStrategy } from '../strategy.ts'

const selectorColumn = wideColumn('Selector')

export const deployment: KindStrategy = defineKind<Deployment>({
  default(object) {
    const { spec } = object
    if (spec === undefined) return
    spec.replicas ??= 1
    spec.revisionHistoryLimit ??= 10
    spec.progressDeadlineSeconds ??= 600
    const strategy = (spec.strategy ??= {})
    strategy.type ??= 'RollingUpdate'
    if (strategy.type === 'RollingUpdate') {
      const rolling = (strategy.rollingUpdate ??= {})
      rolling.maxUnavailable ??= '25%'
      rolling.maxSurge ??= '25%'
    }
    defaultTemplate(spec.template)
  },
  validate(object, old) {
    const { spec } = object
    const before = old?.spec
    if (spec === undefined) return [required('spec')]
    const errors = [
      ...validateWorkload(spec, before, 'deployment', 'ReplicaSet'),
      ...nonNegative('spec.minReadySeconds', spec.minReadySeconds),
      ...nonNegative('spec.revisionHistoryLimit', spec.revisionHistoryLimit),
      ...nonNegative('spec.progressDeadlineSeconds', spec.progressDeadlineSeconds),
      ...oneTypeOf('spec.strategy', spec.strategy, ['Recreate', 'RollingUpdate']),
    ]
    const { type, rollingUpdate } = spec.strategy ?? {}
    if (type === 'Recreate' && rollingUpdate !== undefined) {
      errors.push(forbidden('spec.strategy.rollingUpdate', "may not be specified when strategy `type` is 'Recreate'"))
    }
    if (type === 'RollingUpdate') {
      errors.push(...validateRolling(rollingUpdate ?? {}, 'spec.strategy.rollingUpdate'))
    }
    if ((spec.progressDeadlineSeconds ?? 600) <= (spec.minReadySeconds ?? 0)) {
      errors.push(
        invalid('spec.progressDeadlineSeconds', spec.progressDeadlineSeconds, 'must be greater than minReadySeconds'),
      )
    }
    return errors
  },
  columns: [
    nameColumn,
    column('Ready'),
    column('Up-to-date'),
    column('Available'),
    ageColumn,
    ...containerColumns,
    selectorColumn,
  ],
  row(object, now) {
    const { metadata, spec, status } = object
    return [
      metadata.name,
      `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 0}`,
      status?.updatedReplicas ?? 0,
      status?.availableReplicas ?? 0,
      age(metadata.creationTimestamp, now),
      ...containerCells(spec?.template.spec),
      formatSelector(spec?.selector),
    ]
  },
})

const replicaColumns = [
  nameColumn,
  column('Desired', 'integer'),
  column('Current', 'integer'),
  column('Ready', 'integer'),
  ageColumn,
  ...containerColumns,
  selectorColumn,
]

export const replicaSet: KindStrategy = defineKind<ReplicaSet>({
  default(object) {
    const { spec } = object
    if (spec === undefined) return
    spec.replicas ??= 1
    if (spec.template !== undefined) defaultTemplate(spec.template)
  },
  create(object) {
    object.status = { replicas: 0 }
  },
  validate(object, old) {
    const { spec } = object
    if (spec === undefined) return [required('spec')]
    return [
      ...validateWorkload(spec, old?.spec, 'deployment', 'ReplicaSet'),
      ...nonNegative('spec.minReadySeconds', spec.minReadySeconds),
    ]
  },
  fields: (object) => ({ 'status.replicas': String(object.status?.replicas ?? 0) }),
  columns: replicaColumns,
  row(object, now) {
    const { metadata, spec, status } = object
    return [
      metadata.name,
      spec?.replicas ?? 0,
      status?.replicas ?? 0,
      status?.readyReplicas ?? 0,
      age(metadata.creationTimestamp, now),
      ...containerCells(spec?.template?.spec),
      formatSelector(spec?.selector),
    ]
  },
})

export const replicationController: KindStrategy = defineKind<ReplicationController>({
  default(object) {
    const { metadata, spec } = object
    if (spec === undefined) return
    const labels = spec.template?.metadata?.labels
    spec.replicas ??= 1
    if (labels !== undefined && Object.keys(spec.selector ?? {}).length === 0) spec.selector = { ...labels }
    if (labels !== undefined && metadata !== undefined) metadata.labels ??= { ...labels }
    if (spec.template !== undefined) defaultTemplate(spec.template)
  },
  create(object) {
    object.status = { replicas: 0 }
  },
  validate(object) {
    const { spec } = object
    if (spec === undefined) return [required('spec')]
    const { selector = {}, template } = spec
    const errors = [
      ...nonNegative('spec.minReadySeconds', spec.minReadySeconds),
      ...nonNegative('spec.replicas', spec.replicas),
      ...(Object.keys(selector).length === 0 ? [required('spec.selector')] : []),
    ]
    if (template === undefined) return [...errors, required('spec.template')]
    const given = template.metadata?.labels ?? {}
    if (!matchesSelector({ matchLabels: selector }, given)) {
      const field = 'spec.template.metadata.labels'
      errors.push(invalid(field, given, '`selector` does not match template `labels`'))
    }
    return [...errors, ...validatePodTemplate(template, 'spec.template', ['Always'])]
  },
  fields: (object) => ({ 'status.replicas': String(object.status?.replicas ?? 0) }),
  columns: replicaColumns,
  row(object, now) {
    const { metadata, spec, status } = object
    return [
      metadata.name,
      spec?.replicas ?? 0,
      status?.replicas ?? 0,
      status?.readyReplicas ?? 0,
      age(metadata.creationTimestamp, now),
      ...containerCells(spec?.template?.spec),
      formatLabels(spec?.selector),
    ]
  },
})

const mutableInStatefulSet = new Set([
  'replicas',
  'ordinals',
  'template',
  'updateStrategy',
  'revisionHistoryLimit',
  'persistentVolumeClaimRetentionPolicy',
  'minReadySeconds',
])

function fixedPart(spec: object): object {
  return Object.fromEntries(Object.entries(spec).filter(([key]) => !mutableInStatefulSet.has(key)))
}

export const statefulSet: KindStrategy = defineKind<StatefulSet>({
  default(object) {
    const { spec } = object
    if (spec === undefined) return
    spec.replicas ??= 1
    spec.revisionHistoryLimit ??= 10
    spec.podManagementPolicy ??= 'OrderedReady'
    spec.persistentVolumeClaimRetentionPolicy ??= { whenDeleted: 'Retain', whenScaled: 'Retain' }
    const update = (spec.updateStrategy ??= {})
    update.type ??= 'RollingUpdate'
    if (update.type === 'RollingUpdate') {
      update.rollingUpdate ??= {}
      update.rollingUpdate.partition ??= 0
    }
    for (const claim of spec.volumeClaimTemplates ?? []) {
      claim.apiVersion ??= 'v1'
      claim.kind ??= 'PersistentVolumeClaim'
      if (claim.spec !== undefined) defaultClaimSpec(claim.spec)
      claim.status ??= { phase: 'Pending' }
    }
    defaultTemplate(spec.template)
  },
  create(object) {
    object.status = { replicas: 0, availableReplicas: 0 }
    dropMaxUnavailable(object)
  },
  update(object, old) {
    if (old.spec?.updateStrategy?.rollingUpdate?.maxUnavailable === undefined) dropMaxUnavailable(object)
  },
  validate(object, old) {
    const { spec } = object
    const before = old?.spec
    if (spec === undefined) return [required('spec')]
    const errors = [
      ...nonNegative('spec.replicas', spec.replicas),
      ...nonNegative('spec.minReadySeconds', spec.minReadySeconds),
      ...nonNegative('spec.ordinals.start', spec.ordinals?.start),
      ...validateWorkloadSelector(spec.selector, spec.template.metadata?.labels, 'spec', 'statefulset'),
      ...validateStatefulTemplate(spec),
      ...validateDeadline(spec.template, 'StatefulSet'),
      ...validateStatefulPolicies(spec),
      ...((spec.serviceName ?? '') === '' ? [] : dnsLabel('spec.serviceName', spec.serviceName ?? '')),
    ]
    if (before !== undefined && !isEqual(fixedPart(spec), fixedPart(before))) {
      const fields =
        "'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds'"
      errors.push(forbidden('spec', `updates to statefulset spec for fields other than ${fields} are forbidden`))
    }
    return errors
  },
  columns: [nameColumn, column('Ready'), ageColumn, ...containerColumns],
  row(object, now) {
    const { metadata, spec, status } = object
    return [
      metadata.name,
      `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 0}`,
      age(metadata.creationTimestamp, now),
      ...containerCells(spec?.template.spec),
    ]
  },
})

/** Behind a feature gate that is off in 1.36, MaxUnavailableStatefulSet: such a set is updated pod by pod. */
function dropMaxUnavailable({ spec }: StatefulSet): void {
  delete spec?.updateStrategy?.rollingUpdate?.maxUnavailable
}

/** How often the template changed: `spec.templateGeneration` of versions of old, which apps/v1 has as an annotation. */
const templateGeneration = 'deprecated.daemonset.template.generation'

function setGeneration({ metadata }: { metadata: ObjectMeta }, generation: number): void {
  metadata.annotations = { ...metadata.annotations, [templateGeneration]: String(generation) }
}

export const daemonSet: KindStrategy = defineKind<DaemonSet>({
  default(object) {
    const { spec } = object
    if (spec === undefined) return
    spec.revisionHistoryLimit ??= 10
    const update = (spec.updateStrategy ??= {})
    update.type ??= 'RollingUpdate'
    if (update.type === 'RollingUpdate') {
      update.rollingUpdate ??= {}
      update.rollingUpdate.maxUnavailable ??= 1
      update.rollingUpdate.maxSurge ??= 0
    }
    defaultTemplate(spec.template)
  },
  create(object) {
    object.status = { currentNumberScheduled: 0, numberMisscheduled: 0, desiredNumberScheduled: 0, numberReady: 0 }
    setGeneration(object, 1)
  },
  update(object, old) {
    const template = structuredClone(object.spec?.template)
    defaultTemplate(template)
    const generation = Number(old.metadata.annotations?.[templateGeneration] ?? 1)
    setGeneration(object, isEqual(template, old.spec?.template) ? generation : generation + 1)
  },
  validate(object, old) {
    const { spec } = object
    if (spec === undefined) return [required('spec')]
    return [
      ...validateWorkload(spec, old?.spec, 'daemonset', 'DaemonSet'),
      ...nonNegative('spec.minReadySeconds', spec.minReadySeconds),
      ...nonNegative('spec.revisionHistoryLimit', spec.revisionHistoryLimit),
      ...oneTypeOf('spec.updateStrategy', spec.updateStrategy, ['RollingUpdate', 'OnDelete']),
      ...(spec.updateStrategy?.type === 'RollingUpdate'
        ? validateSurge(spec.updateStrategy.rollingUpdate ?? {}, 'spec.updateStrategy.rollingUpdate')
        : []),
    ]
  },
  columns: [
    nameColumn,
    column('Desired', 'integer'),
    column('Current', 'integer'),
    column('Ready', 'integer'),
    column('Up-to-date', 'integer'),
    column('Available', 'integer'),
    column('Node Selector'),
    ageColumn,
    ...containerColumns,
    selectorColumn,
  ],
  row(object, now) {
    const { metadata, spec, status } = object
    return [
      metadata.name,
      status?.desiredNumberScheduled ?? 0,
      status?.currentNumberScheduled ?? 0,
      status?.numberReady ?? 0,
      status?.updatedNumberScheduled ?? 0,
      status?.numberAvailable ?? 0,
      formatLabels(spec?.template.spec?.nodeSelector),
      age(metadata.creationTimestamp, now),
      ...containerCells(spec?.template.spec),
      formatSelector(spec?.selector),
    ]
  },
})

/** Fills in a pod template as far as its spec is given. */
export function defaultTemplate(template: PodTemplateSpec | undefined): void {
  if (template?.spec !== undefined) defaultPodSpec(template.spec)
}

/** A template on its own, of which nobody makes pods yet. */
export const podTemplate: Rules = defineRules<PodTemplate>({
  default: ({ template }) => defaultTemplate(template),
  validate: ({ template }) => validatePodTemplate(template, 'template', ['Always', 'OnFailure', 'Never']),
})
