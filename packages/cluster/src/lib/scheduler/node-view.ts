import type { Node, Pod, Taint } from '@fairlead/kube/types/core-v1'

import { hasPodAffinity } from './affinity.ts'
import { hostPortsOf, parseAmounts, requestsOf, scoredRequestsOf } from './resources.ts'
import type { Amounts, HostPort } from './resources.ts'

/** A node and what the pods on it take. */
export interface NodeView {
  readonly name: string
  readonly node: Node
  /** Those that have not ended. */
  readonly pods: ReadonlySet<Pod>
  /** Those of them that ask for the nearness or distance of others. */
  readonly relatedPods: ReadonlySet<Pod>
  readonly used: Amounts
  /** What the pods count for when nodes are compared. */
  readonly scored: { readonly cpu: number; readonly memory: number }
  readonly allocatable: Amounts
  readonly hostPorts: readonly HostPort[]
  /** Pods by the controller whose replicas they are. */
  readonly replicas: ReadonlyMap<string, number>
  /** The taints of the node, that of one that is not ready included. */
  readonly taints: readonly Taint[]
  /** Sizes in bytes, by name. */
  readonly images: ReadonlyMap<string, number>
}

/** Adds up what is on a node; `pods` are those that have not ended. */
export function viewNode(node: Node, pods: Iterable<Pod>): CountedNode {
  const view = new CountedNode(node)
  for (const pod of pods) view.add(pod)
  return view
}

/** A node whose pods come and go; each costs the same, however many there are. */
export class CountedNode implements NodeView {
  readonly name: string
  readonly pods: Set<Pod> = new Set()
  readonly relatedPods: Set<Pod> = new Set()
  readonly used: Map<string, number> = new Map()
  readonly scored: { cpu: number; memory: number } = { cpu: 0, memory: 0 }
  readonly replicas: Map<string, number> = new Map()
  hostPorts: readonly HostPort[] = []
  #facts: NodeFacts

  constructor(node: Node) {
    this.name = node.metadata?.name ?? ''
    this.#facts = readFacts(node)
  }

  get node(): Node {
    return this.#facts.node
  }

  get allocatable(): Amounts {
    return this.#facts.allocatable
  }

  get taints(): readonly Taint[] {
    return this.#facts.taints
  }

  get images(): ReadonlyMap<string, number> {
    return this.#facts.images
  }

  /** The node itself has changed. */
  update(node: Node): void {
    this.#facts = readFacts(node)
  }

  add(pod: Pod): void {
    this.pods.add(pod)
    if (hasPodAffinity(pod)) this.relatedPods.add(pod)
    this.#count(pod, 1)
    const ports = hostPortsOf(pod)
    if (ports.length > 0) this.hostPorts = [...this.hostPorts, ...ports]
  }

  remove(pod: Pod): void {
    if (!this.pods.delete(pod)) return
    this.relatedPods.delete(pod)
    this.#count(pod, -1)
    if (hostPortsOf(pod).length > 0) this.hostPorts = [...this.pods].flatMap(hostPortsOf)
  }

  /** One that can be changed without this. */
  copy(): CountedNode {
    return viewNode(this.node, this.pods)
  }

  #count(pod: Pod, sign: 1 | -1): void {
    for (const [name, amount] of requestsOf(pod)) this.used.set(name, (this.used.get(name) ?? 0) + sign * amount)
    const { cpu, memory } = scoredRequestsOf(pod)
    this.scored.cpu += sign * cpu
    this.scored.memory += sign * memory
    const controller = replicaControllerOf(pod)
    if (controller !== undefined) this.replicas.set(controller, (this.replicas.get(controller) ?? 0) + sign)
  }
}

const replicating = new Set(['ReplicaSet', 'StatefulSet', 'ReplicationController'])

/** The controller whose pods stand in for each other: two of them on two nodes survive the loss of one. */
export function replicaControllerOf({ metadata }: Pod): string | undefined {
  const owner = metadata?.ownerReferences?.find(({ controller }) => controller === true)
  return owner !== undefined && replicating.has(owner.kind) ? owner.uid : undefined
}

type NodeFacts = Pick<NodeView, 'node' | 'allocatable' | 'taints' | 'images'>

function readFacts(node: Node): NodeFacts {
  const images = (node.status?.images ?? []).flatMap(({ names = [], sizeBytes = 0 }) =>
    names.map((name) => [name, sizeBytes] as const),
  )
  return {
    node,
    allocatable: parseAmounts(node.status?.allocatable ?? node.status?.capacity),
    taints: [...(node.spec?.taints ?? []), ...notReadyTaints(node)],
    images: new Map(images),
  }
}

/** What the node lifecycle controller is about to taint a node with that is not ready. */
function notReadyTaints({ status }: Node): Taint[] {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready')?.status
  return ready === 'True' ? [] : [{ key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }]
}
