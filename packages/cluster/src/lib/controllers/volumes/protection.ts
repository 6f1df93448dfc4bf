import type { KubeResource, ResourceClient } from '@fairlead/kube'
import { fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { PersistentVolumeClaim, Pod } from '@fairlead/kube/types/core-v1'

import type { ControllerContext } from '../context.ts'
import { isPodTerminal } from '../pod-state.ts'
import { ignoreNotFound } from '../write.ts'

const claimFinalizer = 'kubernetes.io/pvc-protection'
const volumeFinalizer = 'kubernetes.io/pv-protection'

/** Keeps claims that are being deleted until no pod uses them any more. */
export function runClaimProtection({ client, informers, clock, signal, onError }: ControllerContext): Promise<void> {
  const claims = client.resource('v1/PersistentVolumeClaim')
  const pods = client.resource('v1/Pod')

  /** The server is asked before what a pod may need goes for good: the cache may be behind. */
  async function isInUse(claim: PersistentVolumeClaim): Promise<boolean> {
    const { namespace } = claim.metadata ?? {}
    return isUsed(claim, informers.pods.list(namespace)) || isUsed(claim, (await pods.list({ namespace })).items)
  }

  return runController({
    name: 'claim-protection',
    sources: [
      fromInformer(informers.pods, (pod) => claimsOf(pod).map((name) => `${pod.metadata?.namespace ?? ''}/${name}`)),
      fromInformer(informers.claims, (claim) => [keyOf(claim)]),
    ],
    reconcile: async (key) => {
      const { namespace, name } = parseKey(key)
      const claim = informers.claims.get(namespace, name)
      if (claim !== undefined) await keepFinalizer(claims, claim, claimFinalizer, () => isInUse(claim))
    },
    signal,
    onError,
    clock,
  })
}

/** Keeps volumes that are being deleted until they are no claim's any more. */
export function runVolumeProtection({ client, informers, clock, signal, onError }: ControllerContext): Promise<void> {
  const volumes = client.resource('v1/PersistentVolume')
  return runController({
    name: 'volume-protection',
    sources: [fromInformer(informers.volumes, (volume) => [keyOf(volume)])],
    reconcile: async (key) => {
      const volume = informers.volumes.get(undefined, parseKey(key).name)
      if (volume !== undefined)
        await keepFinalizer(volumes, volume, volumeFinalizer, async () => volume.status?.phase === 'Bound')
    },
    signal,
    onError,
    clock,
  })
}

async function keepFinalizer<T extends KubeResource>(
  objects: ResourceClient<T>,
  object: T,
  finalizer: string,
  isInUse: () => Promise<boolean>,
): Promise<void> {
  const { deletionTimestamp, finalizers = [] } = object.metadata ?? {}
  const has = finalizers.includes(finalizer)
  const isDeleting = deletionTimestamp !== undefined
  if (isDeleting ? !has || (await isInUse()) : has) return
  const wanted = isDeleting ? finalizers.filter((one) => one !== finalizer) : [...finalizers, finalizer]
  await ignoreNotFound(objects.update({ ...object, metadata: { ...object.metadata, finalizers: wanted } }))
}

/** The names of the claims a pod uses. */
function claimsOf({ metadata, spec }: Pod): string[] {
  return (spec?.volumes ?? []).flatMap((volume) => {
    if (volume.ephemeral !== undefined) return [`${metadata?.name ?? ''}-${volume.name}`]
    return volume.persistentVolumeClaim === undefined ? [] : [volume.persistentVolumeClaim.claimName]
  })
}

/** A pod that runs nowhere yet, or no longer, uses nothing. */
function isUsed({ metadata }: PersistentVolumeClaim, pods: readonly Pod[]): boolean {
  return pods.some(
    (pod) => (pod.spec?.nodeName ?? '') !== '' && !isPodTerminal(pod) && claimsOf(pod).includes(metadata?.name ?? ''),
  )
}
