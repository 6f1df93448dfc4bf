import type { Node, Pod } from '@fairlead/kube/types/core-v1'

import { CountedNode } from './node-view.ts'
import type { NodeView } from './node-view.ts'
import { priorityOf } from './priority.ts'

interface Place {
  readonly pod: Pod
  readonly nodeName: string
}

/** What the scheduler knows of nodes and of the pods on them, kept up by what it is told. Pods are told apart by uid. */
export class Snapshot {
  readonly #nodes = new Map<string, CountedNode>()
  readonly #places = new Map<string, Place>()
  /** Pods that room is being made for, with the node where. */
  readonly #nominated = new Map<string, Place>()
  #views: readonly CountedNode[] | undefined

  get views(): readonly NodeView[] {
    return (this.#views ??= [...this.#nodes.values()])
  }

  setNode(node: Node): void {
    const name = node.metadata?.name ?? ''
    const known = this.#nodes.get(name)
    if (known !== undefined) return known.update(node)
    const view = new CountedNode(node)
    for (const { pod, nodeName } of this.#places.values()) if (nodeName === name) view.add(pod)
    this.#nodes.set(name, view)
    this.#views = undefined
  }

  removeNode(name: string): void {
    if (this.#nodes.delete(name)) this.#views = undefined
  }

  /** Puts a pod, or a newer version of it, on a node. */
  place(pod: Pod, nodeName: string): void {
    this.leave(pod)
    this.#places.set(uidOf(pod), { pod, nodeName })
    this.#nodes.get(nodeName)?.add(pod)
  }

  leave(pod: Pod): void {
    const place = this.#places.get(uidOf(pod))
    if (place === undefined) return
    this.#places.delete(uidOf(pod))
    this.#nodes.get(place.nodeName)?.remove(place.pod)
  }

  /** The version of a pod that is on a node. */
  placed(pod: Pod): Pod | undefined {
    return this.#places.get(uidOf(pod))?.pod
  }

  /** Room on a node is meant for a pod; none when `nodeName` is empty. */
  nominate(pod: Pod, nodeName: string): void {
    if (nodeName === '') this.#nominated.delete(uidOf(pod))
    else this.#nominated.set(uidOf(pod), { pod, nodeName })
  }

  nominationOf(pod: Pod): string {
    return this.#nominated.get(uidOf(pod))?.nodeName ?? ''
  }

  nominatedOn(nodeName: string): readonly Pod[] {
    if (this.#nominated.size === 0) return []
    return [...this.#nominated.values()].filter((place) => place.nodeName === nodeName).map(({ pod }) => pod)
  }

  /** Pods that lose their prospect of a node to a more important one. */
  outranked(pod: Pod, nodeName: string): readonly Pod[] {
    return this.nominatedOn(nodeName).filter((other) => priorityOf(other) < priorityOf(pod))
  }
}

function uidOf({ metadata }: Pod): string {
  return metadata?.uid ?? `${metadata?.namespace}/${metadata?.name}`
}
