import { amountIn } from './eviction/thresholds.ts'
import type { Signal, Threshold } from './eviction/thresholds.ts'

/** What a machine has. */
export interface MachineAmounts {
  readonly cpus: number
  readonly memoryBytes: number
  readonly diskBytes: number
}

/** What a node promises of it. */
export interface NodePromise {
  readonly maxPods: number
  /** How many nodes share the machine. */
  readonly nodesOfMachine: number
  /** Below these pods have to go: what they keep free is nobody's to ask for. */
  readonly thresholds: readonly Threshold[]
}

/** `status.capacity`: all of the machine. */
export function renderCapacity(machine: MachineAmounts, { maxPods }: NodePromise): Record<string, string> {
  return renderAmounts(machine, 1, maxPods)
}

/**
 * `status.allocatable`: without what eviction keeps free (Kubernetes, "Node Allocatable"). The sum of what nodes of one machine
 * promise is what the machine has.
 */
export function renderAllocatable(machine: MachineAmounts, promise: NodePromise): Record<string, string> {
  const { maxPods, nodesOfMachine, thresholds } = promise
  const without = (signal: Signal, bytes: number): number => Math.max(0, bytes - keptFree(thresholds, signal, bytes))
  const left = {
    cpus: machine.cpus,
    memoryBytes: without('memory.available', machine.memoryBytes),
    diskBytes: without('nodefs.available', machine.diskBytes),
  }
  return renderAmounts(left, nodesOfMachine, maxPods)
}

/** By hard thresholds: soft ones may be crossed for a while. */
function keptFree(thresholds: readonly Threshold[], wanted: Signal, bytes: number): number {
  const hard = thresholds.filter(({ signal, graceMs }) => signal === wanted && graceMs === undefined)
  return Math.max(0, ...hard.map(({ least }) => amountIn(least, bytes)))
}

function renderAmounts(amounts: MachineAmounts, nodes: number, pods: number): Record<string, string> {
  const { cpus, memoryBytes, diskBytes } = amounts
  const kibibytes = (bytes: number): string => `${Math.floor(bytes / 1024 / nodes)}Ki`
  return {
    cpu: nodes === 1 ? String(cpus) : `${Math.floor((cpus * 1000) / nodes)}m`,
    memory: kibibytes(memoryBytes),
    'ephemeral-storage': kibibytes(diskBytes),
    pods: String(pods),
  }
}
