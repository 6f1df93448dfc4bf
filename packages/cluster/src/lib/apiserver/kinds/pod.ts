import { parseQuantity } from '@fairlead/kube/types'
import type { Pod, PodSpec, PodStatus, Toleration } from '@fairlead/kube/types/core-v1'

import { isEqual } from '../metadata.ts'
import { defineKind } from './define.ts'
import { forbidden } from './field-errors.ts'
import { defaultPodSpec, defaultRunningPod } from './pod-defaults.ts'
import { summarisePod } from './pod-status.ts'
import { validatePodSpec } from './pod-validation.ts'
import { age, ageColumn, column, nameColumn, orNone, wideColumn } from './printing.ts'
import type { FieldError } from '../status.ts'
import type { KindStrategy } from '../strategy.ts'

export const pod: KindStrategy = defineKind<Pod>({
  create(object) {
    object.status = { phase: 'Pending', qosClass: qosClass(object.spec), ...gatedStatus(object.spec) }
  },
  update(object, old) {
    object.status = old.status
  },
  default(object) {
    const { spec } = object
    if (spec === undefined) return
    defaultPodSpec(spec)
    defaultRunningPod(spec)
  },
  validate(object, old) {
    const errors = validatePodSpec(object.spec, 'spec')
    if (old !== undefined) return [...errors, ...validateUpdate(object, old)]
    const isDebugged = (object.spec?.ephemeralContainers ?? []).length > 0
    return isDebugged ? [...errors, forbidden('spec.ephemeralContainers', 'cannot be set on create')] : errors
  },
  fields(object) {
    const { spec, status } = object
    return {
      'spec.nodeName': spec?.nodeName ?? '',
      'spec.restartPolicy': spec?.restartPolicy ?? '',
      'spec.schedulerName': spec?.schedulerName ?? '',
      'spec.serviceAccountName': spec?.serviceAccountName ?? '',
      'spec.hostNetwork': String(spec?.hostNetwork ?? false),
      'status.phase': status?.phase ?? '',
      'status.podIP': status?.podIP ?? '',
      'status.nominatedNodeName': status?.nominatedNodeName ?? '',
    }
  },
  columns: [
    nameColumn,
    column('Ready'),
    column('Status'),
    column('Restarts'),
    ageColumn,
    wideColumn('IP'),
    wideColumn('Node'),
    wideColumn('Nominated Node'),
    wideColumn('Readiness Gates'),
  ],
  row(object, now) {
    const each = object
    const { ready, status, restarts } = summarisePod(each, now)
    return [
      each.metadata.name,
      ready,
      status,
      restarts,
      age(each.metadata.creationTimestamp, now),
      orNone(each.status?.podIPs?.[0]?.ip ?? each.status?.podIP),
      orNone(each.spec?.nodeName),
      orNone(each.status?.nominatedNodeName),
      readinessGates(each),
    ]
  },
})

/** What is said of a pod that no scheduler may look at yet. */
function gatedStatus(spec: PodSpec | undefined): Pick<PodStatus, 'conditions'> {
  if ((spec?.schedulingGates ?? []).length === 0) return {}
  const message = 'Scheduling is blocked due to non-empty scheduling gates'
  return { conditions: [{ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated', message }] }
}

/** Quality of service: what the requests and limits of all containers promise, or those of the pod where it has some. */
export function qosClass(spec: PodSpec | undefined): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  const whole = spec?.resources
  const isWhole = isRequested(whole?.requests) || isRequested(whole?.limits)
  const all = isWhole
    ? [whole]
    : [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].map(({ resources }) => resources)
  if (!all.some((each) => isRequested(each?.requests) || isRequested(each?.limits))) return 'BestEffort'
  const isGuaranteed = all.every((each) =>
    ['cpu', 'memory'].every((name) => {
      const limit = each?.limits?.[name] ?? '0'
      return !isZero(limit) && parseQuantity(each?.requests?.[name] ?? limit) === parseQuantity(limit)
    }),
  )
  return isGuaranteed ? 'Guaranteed' : 'Burstable'
}

function isRequested(list: Record<string, string> | undefined): boolean {
  return ['cpu', 'memory'].some((name) => !isZero(list?.[name]))
}

function isZero(quantity: string | number | undefined): boolean {
  return quantity === undefined || Number.parseFloat(String(quantity)) === 0
}

const immutableMessage =
  'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)'

function validateUpdate(object: Pod, old: Pod): FieldError[] {
  const { spec } = object
  const before = old.spec
  if (spec === undefined || before === undefined || isEqual(spec, before)) return []
  const errors: FieldError[] = []
  if (!keepsTolerations(spec.tolerations ?? [], before.tolerations ?? [])) {
    errors.push(forbidden('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds'))
  }
  if (!isEqual(fixedPart(spec, before), fixedPart(before, before))) errors.push(forbidden('spec', immutableMessage))
  return errors
}

/** The spec without what may change: images, deadline, tolerations, a node given for the first time. */
function fixedPart(spec: PodSpec, before: PodSpec): unknown {
  const { activeDeadlineSeconds: _deadline, tolerations: _tolerations, ...rest } = spec
  const fixed: Record<string, unknown> = { ...rest }
  if ((before.nodeName ?? '') === '') delete fixed['nodeName']
  if ((before.schedulingGates ?? []).length >= (spec.schedulingGates ?? []).length) delete fixed['schedulingGates']
  if ((before.terminationGracePeriodSeconds ?? 0) < 0) delete fixed['terminationGracePeriodSeconds']
  fixed['containers'] = spec.containers.map(({ image: _image, ...container }) => container)
  if (spec.initContainers !== undefined) {
    fixed['initContainers'] = spec.initContainers.map(({ image: _image, ...container }) => container)
  }
  return fixed
}

function keepsTolerations(now: readonly Toleration[], before: readonly Toleration[]): boolean {
  return before.every((old) => now.some((each) => isEqual(withoutSeconds(each), withoutSeconds(old))))
}

function withoutSeconds({ tolerationSeconds: _seconds, ...toleration }: Toleration): Toleration {
  return toleration
}

function readinessGates({ spec, status }: Pod): string {
  const gates = spec?.readinessGates ?? []
  if (gates.length === 0) return '<none>'
  const isTrue = (type: string): boolean =>
    status?.conditions?.some((each) => each.type === type && each.status === 'True') === true
  return `${gates.filter(({ conditionType }) => isTrue(conditionType)).length}/${gates.length}`
}
