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

/**
 * What the older version has no field for travels in annotations, so that an object that is read and written in it keeps
 * everything.
 */
const carried = {
  metrics: 'autoscaling.alpha.kubernetes.io/metrics',
  behavior: 'autoscaling.alpha.kubernetes.io/behavior',
  currentMetrics: 'autoscaling.alpha.kubernetes.io/current-metrics',
  conditions: 'autoscaling.alpha.kubernetes.io/conditions',
} as const

function toMetrics(object: KubeObject): void {
  const spec = object['spec'] as AutoscalerSpec | undefined
  const others = unpack(object, 'metrics') as AutoscalerSpec['metrics']
  const behavior = unpack(object, 'behavior')
  const currentMetrics = unpack(object, 'currentMetrics')
  const conditions = unpack(object, 'conditions')
  if (spec !== undefined) {
    const averageUtilization = spec.targetCPUUtilizationPercentage
    const target = { type: 'Utilization', averageUtilization }
    const cpu = averageUtilization === undefined ? [] : [{ type: 'Resource', resource: { name: 'cpu', target } }]
    delete spec.targetCPUUtilizationPercentage
    const metrics = [...(spec.metrics ?? []), ...(others ?? []), ...cpu]
    if (metrics.length > 0) Object.assign(spec, { metrics })
    if (behavior !== undefined) Object.assign(spec, { behavior })
  }
  const status = object['status'] as AutoscalerStatus | undefined
  if (status === undefined) return
  const averageUtilization = status.currentCPUUtilizationPercentage
  delete status.currentCPUUtilizationPercentage
  if (currentMetrics !== undefined) Object.assign(status, { currentMetrics })
  else if (averageUtilization !== undefined) {
    Object.assign(status, {
      currentMetrics: [{ type: 'Resource', resource: { name: 'cpu', current: { averageUtilization } } }],
    })
  }
  if (conditions !== undefined) Object.assign(status, { conditions })
}

function fromMetrics(object: KubeObject): void {
  const spec = object['spec'] as (AutoscalerSpec & { behavior?: unknown }) | undefined
  if (spec !== undefined) {
    const cpu = spec.metrics?.find(isCpuUtilization)
    const target = cpu?.resource?.target.averageUtilization
    pack(
      object,
      'metrics',
      spec.metrics?.filter((metric) => metric !== cpu),
    )
    pack(object, 'behavior', spec.behavior)
    delete spec.metrics
    delete spec.behavior
    if (target !== undefined) spec.targetCPUUtilizationPercentage = target
  }
  const status = object['status'] as (AutoscalerStatus & { conditions?: unknown[] }) | undefined
  if (status === undefined) return
  const current = status.currentMetrics?.find((metric) => metric.resource?.name === 'cpu')
  pack(object, 'currentMetrics', status.currentMetrics)
  pack(object, 'conditions', status.conditions)
  delete status.currentMetrics
  delete status.conditions
  const used = current?.resource?.current.averageUtilization
  if (used !== undefined) status.currentCPUUtilizationPercentage = used
}

function isCpuUtilization({ resource }: NonNullable<AutoscalerSpec['metrics']>[number]): boolean {
  return resource?.name === 'cpu' && resource.target.averageUtilization !== undefined
}

function pack(object: KubeObject, what: keyof typeof carried, value: unknown): void {
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return
  object.metadata.annotations = { ...object.metadata.annotations, [carried[what]]: JSON.stringify(value) }
}

/** What a client wrote there and cannot be read is no reason to refuse the object: it stays an annotation. */
function unpack(object: KubeObject, what: keyof typeof carried): unknown {
  const text = object.metadata.annotations?.[carried[what]]
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    const { [carried[what]]: _packed, ...rest } = object.metadata.annotations ?? {}
    if (Object.keys(rest).length === 0) delete object.metadata.annotations
    else object.metadata.annotations = rest
    return value
  } catch {
    return undefined
  }
}
