import { findKind } from '@fairlead/kube/types'
import type { KindInfo, KubeObject } from '@fairlead/kube/types'

/** The version in which objects of `info` are stored: another one only where two versions serve the same objects. */
export function storageKind(info: KindInfo): KindInfo {
  const stored = storedAs.get(`${info.apiVersion} ${info.kind}`)
  return (stored === undefined ? undefined : findKind(stored, info.kind)) ?? info
}

const storedAs: ReadonlyMap<string, string> = new Map([
  ['autoscaling/v1 HorizontalPodAutoscaler', 'autoscaling/v2'],
  ['events.k8s.io/v1 Event', 'v1'],
])

/** The same object in the version of `target`; changes and returns `object`. */
export function convert(object: KubeObject, target: KindInfo): KubeObject {
  const conversion = conversions.get(`${object.apiVersion} ${target.apiVersion} ${target.kind}`)
  conversion?.(object)
  object.apiVersion = target.apiVersion
  return object
}

const conversions: ReadonlyMap<string, (object: KubeObject) => void> = new Map([
  ['v1 events.k8s.io/v1 Event', (event) => rename(event, eventNames)],
  [
    'events.k8s.io/v1 v1 Event',
    (event) =>
      rename(
        event,
        eventNames.map(([core, events]) => [events, core]),
      ),
  ],
  ['autoscaling/v1 autoscaling/v2 HorizontalPodAutoscaler', toMetrics],
  ['autoscaling/v2 autoscaling/v1 HorizontalPodAutoscaler', fromMetrics],
])

const eventNames: readonly (readonly [string, string])[] = [
  ['involvedObject', 'regarding'],
  ['message', 'note'],
  ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'],
  ['lastTimestamp', 'deprecatedLastTimestamp'],
  ['count', 'deprecatedCount'],
  ['reportingComponent', 'reportingController'],
]

function rename(object: KubeObject, names: readonly (readonly [string, string])[]): void {
  for (const [from, to] of names) {
    if (object[from] === undefined) continue
    object[to] = object[from]
    delete object[from]
  }
}

interface AutoscalerSpec {
  metrics?: { type: string; resource?: { name: string; target: { type: string; averageUtilization?: number } } }[]
  targetCPUUtilizationPercentage?: number
}

interface AutoscalerStatus {
  currentMetrics?: { type: string; resource?: { name: string; current: { averageUtilization?: number } } }[]
  currentCPUUtilizationPercentage?: number
}

function toMetrics(object: KubeObject): void {
  const spec = object['spec'] as AutoscalerSpec | undefined
  if (spec?.targetCPUUtilizationPercentage === undefined) return
  const target = { type: 'Utilization', averageUtilization: spec.targetCPUUtilizationPercentage }
  spec.metrics = [...(spec.metrics ?? []), { type: 'Resource', resource: { name: 'cpu', target } }]
  delete spec.targetCPUUtilizationPercentage
}

/** The older version knows nothing but the CPU target; other metrics are not shown in it. */
function fromMetrics(object: KubeObject): void {
  const spec = object['spec'] as AutoscalerSpec | undefined
  const cpu = spec?.metrics?.find((metric) => metric.resource?.name === 'cpu')?.resource?.target.averageUtilization
  if (spec !== undefined) {
    delete spec.metrics
    if (cpu !== undefined) spec.targetCPUUtilizationPercentage = cpu
  }
  const status = object['status'] as AutoscalerStatus | undefined
  if (status === undefined) return
  const current = status.currentMetrics?.find((metric) => metric.resource?.name === 'cpu')
  delete status.currentMetrics
  const used = current?.resource?.current.averageUtilization
  if (used !== undefined) status.currentCPUUtilizationPercentage = used
}
