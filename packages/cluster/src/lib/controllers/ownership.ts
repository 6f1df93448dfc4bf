import { isNotFound } from '@fairlead/kube'
import type { KubeResource, ResourceClient } from '@fairlead/kube'
import type { LabelSelector, ObjectMeta, OwnerReference } from '@fairlead/kube/types'

import { matchesSelector } from '../label-selector.ts'

/** The reference to the controller that manages an object, if one does. */
export function controllerOf(object: KubeResource): OwnerReference | undefined {
  return object.metadata?.ownerReferences?.find(({ controller }) => controller === true)
}

/** The key (namespace/name) of the controller that manages `object`, when one of `kind` does; an empty list otherwise. */
export function keysOfController(object: KubeResource | undefined, kind: string): string[] {
  const controller = object && controllerOf(object)
  return controller?.kind === kind ? [`${object?.metadata?.namespace ?? ''}/${controller.name}`] : []
}

/** The reference by which `owner` manages its objects. */
export function controllerReference(owner: KubeResource): OwnerReference {
  return {
    apiVersion: owner.apiVersion ?? '',
    kind: owner.kind ?? '',
    name: owner.metadata?.name ?? '',
    uid: owner.metadata?.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  }
}

/** Key of an index by controller: the uid of an object's controller, or its namespace when it has none. */
export function controllerIndex(object: KubeResource): readonly string[] {
  return [controllerOf(object)?.uid ?? orphansOf(object.metadata?.namespace)]
}

export function orphansOf(namespace: string | undefined): string {
  return `orphans/${namespace ?? ''}`
}

export interface Claim<T extends KubeResource> {
  /** Managed already, and matching. */
  readonly kept: readonly T[]
  /** Nobody's, and matching: take them. */
  readonly adopted: readonly T[]
  /** Managed, but matching no longer: let them go. */
  readonly released: readonly T[]
}

/** Decides which of `candidates` belong to `owner`, by controller reference and selector. An owner being deleted takes none. */
export function decideClaim<T extends KubeResource>(
  owner: KubeResource,
  selector: LabelSelector,
  candidates: readonly T[],
): Claim<T> {
  const uid = owner.metadata?.uid
  const isDeleting = owner.metadata?.deletionTimestamp !== undefined
  const claim = { kept: [] as T[], adopted: [] as T[], released: [] as T[] }
  for (const object of candidates) {
    const controller = controllerOf(object)
    const matches = matchesSelector(selector, object.metadata?.labels)
    if (controller?.uid === uid && uid !== undefined) {
      ;(matches ? claim.kept : claim.released).push(object)
    } else if (controller === undefined && matches && !isDeleting && object.metadata?.deletionTimestamp === undefined) {
      claim.adopted.push(object)
    }
  }
  return claim
}

/**
 * Carries a claim out; returns the objects that are the owner's now. What is adopted gets `finalizer`, what is released
 * loses it. Default: no finalizer.
 */
export async function claimObjects<T extends KubeResource, O extends KubeResource>(
  clients: { readonly objects: ResourceClient<T>; readonly owners: ResourceClient<O> },
  owner: KubeResource,
  claim: Claim<T>,
  options: { readonly finalizer?: string | undefined } = {},
): Promise<T[]> {
  const { objects } = clients
  const { finalizer } = options
  if (claim.adopted.length > 0 && !(await isCurrent(clients.owners, owner))) {
    return [...claim.kept]
  }
  const adopted = await Promise.all(
    claim.adopted.map(({ metadata }) => {
      const ownerReferences = [...(metadata?.ownerReferences ?? []), controllerReference(owner)]
      return patchOwners(objects, metadata, { ownerReferences, ...addFinalizer(metadata, finalizer) })
    }),
  )
  await Promise.all(
    claim.released.map(({ metadata }) => {
      const others = (metadata?.ownerReferences ?? []).filter(({ uid }) => uid !== owner.metadata?.uid)
      return patchOwners(objects, metadata, { ownerReferences: others, ...dropFinalizer(metadata, finalizer) })
    }),
  )
  return [...claim.kept, ...adopted.filter((object) => object !== undefined)]
}

function addFinalizer(metadata: ObjectMeta | undefined, finalizer: string | undefined): Pick<ObjectMeta, 'finalizers'> {
  const { finalizers = [] } = metadata ?? {}
  return finalizer === undefined || finalizers.includes(finalizer) ? {} : { finalizers: [...finalizers, finalizer] }
}

function dropFinalizer(
  metadata: ObjectMeta | undefined,
  finalizer: string | undefined,
): Pick<ObjectMeta, 'finalizers'> {
  const { finalizers = [] } = metadata ?? {}
  if (finalizer === undefined || !finalizers.includes(finalizer)) return {}
  return { finalizers: finalizers.filter((name) => name !== finalizer) }
}

/** Adopting is only right while the owner lives: the copy in the cache may be behind. */
async function isCurrent<O extends KubeResource>(owners: ResourceClient<O>, owner: KubeResource): Promise<boolean> {
  const { name = '', namespace, uid } = owner.metadata ?? {}
  try {
    const { metadata } = await owners.get(name, { namespace })
    return metadata?.uid === uid && metadata?.deletionTimestamp === undefined
  } catch (error) {
    if (isNotFound(error)) {
      return false
    }
    throw error
  }
}

async function patchOwners<T extends KubeResource>(
  objects: ResourceClient<T>,
  metadata: KubeResource['metadata'],
  change: Pick<ObjectMeta, 'ownerReferences' | 'finalizers'>,
): Promise<T | undefined> {
  const { name = '', namespace, uid, resourceVersion } = metadata ?? {}
  const body = { metadata: { uid, resourceVersion, ...change } }
  try {
    return await objects.patch(name, { type: 'merge', body }, { namespace })
  } catch (error) {
    if (isNotFound(error)) {
      return undefined
    }
    throw error
  }
}
