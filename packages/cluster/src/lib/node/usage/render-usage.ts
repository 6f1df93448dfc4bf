import { renderTime } from '@fairlead/kube/controller'

import { nanoCoresOf } from './usage-meter.ts'
import type { ContainerReading, Reading, Readings } from './usage-meter.ts'

export interface CpuStats {
  readonly time: string
  readonly usageNanoCores: number
  readonly usageCoreNanoSeconds: number
}

export interface MemoryStats {
  readonly time: string
  readonly workingSetBytes: number
  readonly usageBytes: number
}

interface Stats {
  readonly startTime: string
  readonly cpu: CpuStats
  readonly memory: MemoryStats
}

/** What a kubelet answers at `/stats/summary`, as far as there are figures. */
export interface Summary {
  readonly node: { readonly nodeName: string } & Partial<Stats>
  readonly pods: readonly PodStats[]
}

export interface PodStats {
  readonly podRef: { readonly name: string; readonly namespace: string; readonly uid: string }
  readonly containers: readonly (Stats & { readonly name: string })[]
}

export function renderSummary(nodeName: string, { node, containers }: Readings): Summary {
  const byPod = Map.groupBy(containers, ({ container }) => container.pod.uid)
  return {
    node: { nodeName, ...(node === undefined ? {} : statsOf(node)) },
    pods: [...byPod.values()].flatMap((readings) => {
      const podRef = readings[0]?.container.pod
      if (podRef === undefined) return []
      return [
        { podRef, containers: readings.map((reading) => ({ name: reading.container.name, ...statsOf(reading) })) },
      ]
    }),
  }
}

/** The time between the samples begins at `startTime`: rates are of that window. */
function statsOf(reading: Reading): Stats {
  const { earlier, latest } = reading
  const time = new Date(latest.at).toISOString()
  return {
    startTime: renderTime(earlier.at),
    cpu: { time, usageNanoCores: nanoCoresOf(reading), usageCoreNanoSeconds: latest.cpuNanos },
    memory: { time, workingSetBytes: latest.memoryBytes, usageBytes: latest.memoryBytes },
  }
}

/** What a kubelet answers at `/metrics/resource`, in the text format of Prometheus. */
export function renderResourceMetrics({ node, containers }: Readings): string {
  const labelsOf = ({ container: { name, pod } }: ContainerReading): string =>
    `{container="${name}",namespace="${pod.namespace}",pod="${pod.name}"}`
  const cpu = (name: string, labels: string, { latest }: Reading): string =>
    `${name}${labels} ${latest.cpuNanos / 1e9} ${latest.at}`
  const memory = (name: string, labels: string, { latest }: Reading): string =>
    `${name}${labels} ${latest.memoryBytes} ${latest.at}`
  const nodes = node === undefined ? [] : [node]
  return [
    ...header(
      'container_cpu_usage_seconds_total',
      'counter',
      'Cumulative cpu time consumed by the container in core-seconds',
    ),
    ...containers.map((each) => cpu('container_cpu_usage_seconds_total', labelsOf(each), each)),
    ...header('container_memory_working_set_bytes', 'gauge', 'Current working set of the container in bytes'),
    ...containers.map((each) => memory('container_memory_working_set_bytes', labelsOf(each), each)),
    ...header('node_cpu_usage_seconds_total', 'counter', 'Cumulative cpu time consumed by the node in core-seconds'),
    ...nodes.map((each) => cpu('node_cpu_usage_seconds_total', '', each)),
    ...header('node_memory_working_set_bytes', 'gauge', 'Current working set of the node in bytes'),
    ...nodes.map((each) => memory('node_memory_working_set_bytes', '', each)),
    '',
  ].join('\n')
}

function header(name: string, type: string, help: string): string[] {
  return [`# HELP ${name} [STABLE] ${help}`, `# TYPE ${name} ${type}`]
}
