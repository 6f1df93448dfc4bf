import { parseQuantity } from '@fairlead/kube/types'
import type { Pod, PodSpec, PodStatus } from '@fairlead/kube/types/core-v1'

import { defineKind } from './define.ts'
import { forbidden } from './field-errors.ts'
import { defaultPodSpec, defaultRunningPod } from './pod-defaults.ts'
import { summarisePod } from './pod-status.ts'
import { validatePodStatus } from './pod-rules/status.ts'
import { validatePodUpdate } from './pod-rules/update.ts'
import { validatePodSpec } from './pod-validation.ts'
import { age, ageColumn, column, nameColumn, orNone, wideColumn } from './printing.ts'
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
  updateStatus(object, old) {
    if ((object.status?.qosClass ?? '') !== '' || old.status?.qosClass === undefined) return
    object.status = { ...object.status, qosClass: old.status.qosClass }
  },
  validateStatus: validatePodStatus,
  validate(object, old) {
    const errors = validatePodSpec(object.spec, 'spec')
    if (old !== undefined) return [...errors, ...validatePodUpdate(object, old)]
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

function readinessGates({ spec, status }: Pod): string {
  const gates = spec?.readinessGates ?? []
  if (gates.length === 0) return '<none>'
  const isTrue = (type: string): boolean =>
    status?.conditions?.some((each) => each.type === type && each.status === 'True') === true
  return `${gates.filter(({ conditionType }) => isTrue(conditionType)).length}/${gates.length}`
}
