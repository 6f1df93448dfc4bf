import type { NodeSelector, PersistentVolume, PersistentVolumeClaim, Pod } from '@fairlead/kube/types/core-v1'
import type { StorageClass } from '@fairlead/kube/types/storage-v1'

import { matchesNodeSelector } from '../node-selector.ts'
import type { NodeView } from './node-view.ts'
import { defineRejection, noRejections } from './rejection.ts'
import type { Rejection } from './rejection.ts'

/** The annotation by which a claim that waits for its first pod learns where that will be. */
export const selectedNode = 'volume.kubernetes.io/selected-node'

export type ClaimsVerdict =
  | { readonly state: 'ready' }
  /** The pod cannot be anywhere, in Kubernetes' words. */
  | { readonly state: 'missing'; readonly message: string }
  /** Claims that get a volume once the pod has a node. */
  | { readonly state: 'delayed'; readonly claims: readonly PersistentVolumeClaim[] }

export interface ClaimSources {
  claim(namespace: string, name: string): PersistentVolumeClaim | undefined
  storageClass(name: string): StorageClass | undefined
  volume(name: string): PersistentVolume | undefined
}

/** Whether all claims of a pod have their volumes, or would have them if it had a node. */
export function judgeClaims(pod: Pod, sources: ClaimSources): ClaimsVerdict {
  const delayed: PersistentVolumeClaim[] = []
  for (const name of claimNamesOf(pod)) {
    const claim = sources.claim(pod.metadata?.namespace ?? '', name)
    if (claim === undefined) return { state: 'missing', message: `persistentvolumeclaim "${name}" not found` }
    if (claim.metadata?.deletionTimestamp !== undefined) {
      return { state: 'missing', message: `persistentvolumeclaim "${name}" is being deleted` }
    }
    if (claim.status?.phase === 'Bound') continue
    const storageClass = sources.storageClass(claim.spec?.storageClassName ?? '')
    if (storageClass?.volumeBindingMode !== 'WaitForFirstConsumer') {
      return { state: 'missing', message: 'pod has unbound immediate PersistentVolumeClaims' }
    }
    delayed.push(claim)
  }
  return delayed.length === 0 ? { state: 'ready' } : { state: 'delayed', claims: delayed }
}

function claimNamesOf({ metadata, spec }: Pod): string[] {
  return (spec?.volumes ?? []).flatMap(({ name, persistentVolumeClaim, ephemeral }) => {
    if (ephemeral !== undefined) return [`${metadata?.name ?? ''}-${name}`]
    return persistentVolumeClaim === undefined ? [] : [persistentVolumeClaim.claimName]
  })
}

const elsewhere = [
  defineRejection('VolumeBinding', "node(s) didn't match PersistentVolume's node affinity", { isFinal: true }),
]

/** Why a pod cannot be on a node for where its volumes are. Undefined when they are anywhere. */
export function createVolumeFilter(
  pod: Pod,
  sources: Pick<ClaimSources, 'claim' | 'volume'>,
): ((view: NodeView) => readonly Rejection[]) | undefined {
  const required = claimNamesOf(pod).flatMap((name): NodeSelector[] => {
    const volumeName = sources.claim(pod.metadata?.namespace ?? '', name)?.spec?.volumeName ?? ''
    const selector = sources.volume(volumeName)?.spec?.nodeAffinity?.required
    return selector === undefined ? [] : [selector]
  })
  if (required.length === 0) return undefined
  return ({ node }) => (required.every((selector) => matchesNodeSelector(selector, node)) ? noRejections : elsewhere)
}
