import type { KubeResource } from '@fairlead/kube'
import type { OwnerReference } from '@fairlead/kube/types'

/** What the garbage collector knows of one object. */
export interface GraphNode {
  readonly uid: string
  readonly apiVersion: string
  readonly kind: string
  readonly namespace: string | undefined
  readonly name: string
  readonly resourceVersion: string | undefined
  readonly owners: readonly OwnerReference[]
  readonly finalizers: readonly string[]
  readonly isDeleting: boolean
}

/** Who owns whom, by uid, over all kinds. */
export interface OwnerGraph {
  get(uid: string): GraphNode | undefined
  dependentsOf(uid: string): GraphNode[]
  /** Takes an object in; returns the uids of those to look at again. */
  put(object: KubeResource): string[]
  /** Takes an object out; returns the uids of those to look at again. */
  remove(uid: string): string[]
  /** Whether the owner is known to be gone for good: a uid never comes back. */
  isAbsent(uid: string): boolean
  markAbsent(uid: string): void
}

export const foregroundFinalizer = 'foregroundDeletion'
export const orphanFinalizer = 'orphan'

/** How many uids of deleted owners are remembered. */
const maxAbsent = 5000

export function createOwnerGraph(): OwnerGraph {
  const nodes = new Map<string, GraphNode>()
  const dependents = new Map<string, Set<string>>()
  const absent = new Set<string>()

  function unlink({ uid, owners }: GraphNode): void {
    for (const owner of owners) {
      const uids = dependents.get(owner.uid)
      if (uids?.delete(uid) === true && uids.size === 0) {
        dependents.delete(owner.uid)
      }
    }
  }

  function link({ uid, owners }: GraphNode): void {
    for (const owner of owners) {
      const uids = dependents.get(owner.uid) ?? new Set()
      uids.add(uid)
      dependents.set(owner.uid, uids)
    }
  }

  function markAbsent(uid: string): void {
    absent.add(uid)
    if (absent.size > maxAbsent) {
      const [oldest = ''] = absent
      absent.delete(oldest)
    }
  }

  return {
    get: (uid) => nodes.get(uid),
    dependentsOf: (uid) => [...(dependents.get(uid) ?? [])].flatMap((dependent) => nodes.get(dependent) ?? []),
    put(object) {
      const node = toNode(object)
      const old = nodes.get(node.uid)
      if (old !== undefined) {
        unlink(old)
      }
      nodes.set(node.uid, node)
      link(node)
      return affectedBy(node, old, (uid) => nodes.has(uid)).concat(
        isHolding(node) ? [...(dependents.get(node.uid) ?? [])] : [],
      )
    },
    remove(uid) {
      const node = nodes.get(uid)
      if (node === undefined) {
        return []
      }
      unlink(node)
      nodes.delete(uid)
      markAbsent(uid)
      return [...(dependents.get(uid) ?? []), ...node.owners.map((owner) => owner.uid)]
    },
    isAbsent: (uid) => absent.has(uid),
    markAbsent,
  }
}

/** An object is looked at when it waits for its dependents, when an owner of it is not known, and when its owners change. */
function affectedBy(node: GraphNode, old: GraphNode | undefined, isKnown: (uid: string) => boolean): string[] {
  const hasUnknown = node.owners.some(({ uid }) => !isKnown(uid))
  // An owner that waits for this one may wait no longer.
  const formerOwners = (old?.owners ?? [])
    .filter(({ uid, blockOwnerDeletion }) =>
      node.owners.every((one) => one.uid !== uid || (blockOwnerDeletion === true && one.blockOwnerDeletion !== true)),
    )
    .map(({ uid }) => uid)
  return [...(hasUnknown || isHolding(node) ? [node.uid] : []), ...formerOwners]
}

/** Whether the object is being deleted and something is to be done for its dependents first. */
export function isHolding({ isDeleting, finalizers }: GraphNode): boolean {
  return isDeleting && (finalizers.includes(foregroundFinalizer) || finalizers.includes(orphanFinalizer))
}

function toNode({ apiVersion = '', kind = '', metadata = {} }: KubeResource): GraphNode {
  return {
    uid: metadata.uid ?? '',
    apiVersion,
    kind,
    namespace: metadata.namespace,
    name: metadata.name ?? '',
    resourceVersion: metadata.resourceVersion,
    owners: metadata.ownerReferences ?? [],
    finalizers: metadata.finalizers ?? [],
    isDeleting: metadata.deletionTimestamp !== undefined,
  }
}

/** How an owner stands towards a dependent: `waiting` is one that goes as soon as the dependent has gone. */
export type OwnerState = 'solid' | 'waiting' | 'absent'

export type Collection =
  | { readonly act: 'keep' }
  /** Drop the references to owners that are gone: another owner keeps the object. */
  | { readonly act: 'disown'; readonly uids: readonly string[] }
  | {
      readonly act: 'delete'
      readonly propagationPolicy: 'Background' | 'Foreground' | 'Orphan'
      /** First let the owners go: they and this one own each other, and would wait for one another for ever. */
      readonly unblocksOwners?: boolean
    }

/** What becomes of an object, by the state of its owners: it stays as long as one of them is solid. */
export function decideCollection(
  node: GraphNode,
  stateOf: (owner: OwnerReference) => OwnerState,
  dependents: readonly GraphNode[],
): Collection {
  if (node.isDeleting || node.owners.length === 0) {
    return { act: 'keep' }
  }
  const states = node.owners.map((owner) => ({ uid: owner.uid, state: stateOf(owner) }))
  if (states.some(({ state }) => state === 'solid')) {
    const uids = states.filter(({ state }) => state !== 'solid').map(({ uid }) => uid)
    return uids.length === 0 ? { act: 'keep' } : { act: 'disown', uids }
  }
  if (states.some(({ state }) => state === 'waiting') && dependents.length > 0) {
    // The owner waits for this one, so this one waits for its own.
    const isCircle = dependents.some((one) => one.isDeleting && one.finalizers.includes(foregroundFinalizer))
    return { act: 'delete', propagationPolicy: 'Foreground', ...(isCircle && { unblocksOwners: true }) }
  }
  if (node.finalizers.includes(orphanFinalizer)) {
    return { act: 'delete', propagationPolicy: 'Orphan' }
  }
  return {
    act: 'delete',
    propagationPolicy: node.finalizers.includes(foregroundFinalizer) ? 'Foreground' : 'Background',
  }
}

/** Dependents that keep an owner deleted in the foreground from going. */
export function blockingDependents(owner: GraphNode, dependents: readonly GraphNode[]): GraphNode[] {
  return dependents.filter(({ owners }) =>
    owners.some(({ uid, blockOwnerDeletion }) => uid === owner.uid && blockOwnerDeletion === true),
  )
}
