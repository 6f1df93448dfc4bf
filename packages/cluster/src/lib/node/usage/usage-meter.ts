import { readCgroupUsage, readNodeUsage, readProcesses, sumTree } from './read-usage.ts'
import type { ProcessUsage, Usage } from './read-usage.ts'

/** A running container to be metered. */
export interface MeteredContainer {
  readonly id: string
  readonly name: string
  readonly pod: { readonly namespace: string; readonly name: string; readonly uid: string }
  readonly pid: number | undefined
  /** Milliseconds since 1970. */
  readonly startedAt: number
  readonly cgroupPath: string
}

/** What was used by a moment, in milliseconds since 1970. */
export interface Sample extends Usage {
  readonly at: number
}

/** Two samples: what was used between them is the rate. */
export interface Reading {
  readonly earlier: Sample
  readonly latest: Sample
}

export interface ContainerReading extends Reading {
  readonly container: MeteredContainer
}

export interface Readings {
  readonly node: Reading | undefined
  readonly containers: readonly ContainerReading[]
}

/** Where usage is read from; the machine, unless a test says otherwise. */
export interface UsageSource {
  /** What all has used; undefined: as much as the containers together. */
  readonly readNode: () => Usage | undefined | Promise<Usage | undefined>
  readonly readCgroup: (path: string) => Promise<Usage | undefined>
  readonly readProcesses: () => Promise<readonly ProcessUsage[]>
}

export const machine: UsageSource = {
  readNode: readNodeUsage,
  readCgroup: readCgroupUsage,
  readProcesses: () => readProcesses(),
}

/** Keeps the last two samples of a node and its containers. */
export class UsageMeter {
  readonly #source: UsageSource
  readonly #containers = new Map<string, ContainerReading>()
  #node: Reading | undefined
  #lastNode: Sample | undefined

  constructor(source: UsageSource = machine) {
    this.#source = source
  }

  get readings(): Readings {
    return { node: this.#node, containers: [...this.#containers.values()] }
  }

  /** Takes a sample of the node and of `running`; containers that do not run any more are forgotten. */
  async sample(running: readonly MeteredContainer[], at: number): Promise<void> {
    const usages = await this.#readContainers(running)
    const node = { at, ...((await this.#source.readNode()) ?? total(usages)) }
    if (this.#lastNode !== undefined) this.#node = { earlier: this.#lastNode, latest: node }
    this.#lastNode = node
    const known = new Map(this.#containers)
    this.#containers.clear()
    for (const [index, container] of running.entries()) {
      const usage = usages[index]
      if (usage === undefined) continue
      const latest = { at, ...usage }
      this.#containers.set(container.id, { container, earlier: earlierOf(known.get(container.id), container), latest })
    }
  }

  /** By control group where there is one, else by the tree of processes. */
  async #readContainers(running: readonly MeteredContainer[]): Promise<(Usage | undefined)[]> {
    const usages = await Promise.all(running.map(({ cgroupPath }) => this.#source.readCgroup(cgroupPath)))
    if (usages.every((usage) => usage !== undefined)) return usages
    const processes = await this.#source.readProcesses()
    if (processes.length === 0) return usages
    const byParent = Map.groupBy(processes, ({ parentPid }) => parentPid)
    const byPid = new Map(processes.map((each) => [each.pid, each]))
    return running.map(({ pid = 0 }, index) => usages[index] ?? addTree(byPid.get(pid), byParent))
  }
}

function total(usages: readonly (Usage | undefined)[]): Usage {
  const sum = { cpuNanos: 0, memoryBytes: 0 }
  for (const usage of usages) {
    sum.cpuNanos += usage?.cpuNanos ?? 0
    sum.memoryBytes += usage?.memoryBytes ?? 0
  }
  return sum
}

function addTree(
  root: ProcessUsage | undefined,
  byParent: ReadonlyMap<number, readonly ProcessUsage[]>,
): Usage | undefined {
  if (root === undefined) return undefined
  const below = sumTree(root.pid, byParent)
  return { cpuNanos: root.cpuNanos + below.cpuNanos, memoryBytes: root.memoryBytes + below.memoryBytes }
}

/** A container seen for the first time has used nothing when it started. */
function earlierOf(known: Reading | undefined, { startedAt }: MeteredContainer): Sample {
  return known?.latest ?? { at: startedAt, cpuNanos: 0, memoryBytes: 0 }
}

/** Billionths of a core in use between two samples. */
export function nanoCoresOf({ earlier, latest }: Reading): number {
  const seconds = (latest.at - earlier.at) / 1000
  return seconds <= 0 ? 0 : Math.max(0, Math.round((latest.cpuNanos - earlier.cpuNanos) / seconds))
}
