import { isDeepStrictEqual } from 'node:util'

import { fromInformer, keyOf, runController } from '@fairlead/kube/controller'
import type { PersistentVolume, PersistentVolumeClaim } from '@fairlead/kube/types/core-v1'
import type { StorageClass } from '@fairlead/kube/types/storage-v1'

import type { ControllerContext } from '../context.ts'
import { hasStatus, ignoreExists, ignoreNotFound } from '../write.ts'
import { bindClaim, bindVolume, decideClaim, selectedNode } from './decide-binding.ts'
import type { ClaimEvent } from './decide-binding.ts'
import { findDefaultClass, isDefaultClass } from './default-class.ts'
import type { FreshObjects } from './fresh-objects.ts'
import { localProvisioner, makeLocalVolume, obstacleOf, provisionedBy, renderLocalVolume } from './local-volumes.ts'
import { capacityOf, classOf, isUnclassified, requestOf } from './match-volume.ts'

/** Gives each claim its class and its volume, one that is there or a new one of the local provisioner. */
export function runClaimController(
  context: ControllerContext,
  fresh: FreshObjects,
  { volumesDir }: { readonly volumesDir?: string | undefined },
): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const claims = client.resource('v1/PersistentVolumeClaim')
  const volumes = client.resource('v1/PersistentVolume')
  const recorder = context.recorder('persistentvolume-controller')

  async function reconcile(key: string): Promise<void> {
    const claim = fresh.claims.get(key)
    if (claim?.spec === undefined) return
    const step = decideClaim(claim, {
      storageClass: informers.storageClasses.get(undefined, classOf(claim)),
      defaultClass: findDefaultClass(informers.storageClasses.list()),
      volumes: informers.volumes.list().map((volume) => fresh.volumes.get(keyOf(volume)) ?? volume),
      node: informers.nodes.get(undefined, claim.metadata?.annotations?.[selectedNode] ?? ''),
    })
    switch (step.act) {
      case 'bind':
        return bind(claim, step.volume)
      case 'provision':
        return provision(claim, step.storageClass)
      case 'classify': {
        const spec = { ...claim.spec, storageClassName: step.storageClass.metadata?.name }
        return fresh.claims.put(await claims.update({ ...claim, spec }))
      }
      case 'lose':
        tell(claim, step.event)
        return writeClaimStatus(claim, { ...claim.status, phase: 'Lost' })
      case 'wait':
        if (step.event !== undefined) tell(claim, step.event)
        return writeClaimStatus(claim, { ...claim.status, phase: 'Pending' })
    }
  }

  /** Writes the volume first: when the write of the claim fails, nobody else gets the volume meanwhile. */
  async function bind(claim: PersistentVolumeClaim, volume: PersistentVolume): Promise<void> {
    const taken = bindVolume(volume, claim)
    const held = taken === volume ? volume : await volumes.update(taken)
    fresh.volumes.put(held)
    const grown = await grow(claim, held)
    const bound = bindClaim(claim, grown)
    const written = bound === claim ? claim : await claims.update(bound)
    fresh.claims.put(written)
    const { accessModes, capacity, volumeAttributesClassName: currentVolumeAttributesClassName } = grown.spec ?? {}
    const facts = { accessModes, capacity, currentVolumeAttributesClassName }
    await writeClaimStatus(written, { ...written.status, phase: 'Bound', ...facts })
    await fresh.writePhase(grown, 'Bound')
  }

  /** Grants what a claim asks for beyond its volume's capacity: sizes of directories are not enforced, so it costs nothing. */
  async function grow(claim: PersistentVolumeClaim, volume: PersistentVolume): Promise<PersistentVolume> {
    const isOurs = volume.metadata?.annotations?.[provisionedBy] === localProvisioner
    const storage = claim.spec?.resources?.requests?.['storage']
    if (!isOurs || storage === undefined || requestOf(claim) <= capacityOf(volume)) return volume
    const grown = await volumes.update({
      ...volume,
      spec: { ...volume.spec, capacity: { ...volume.spec?.capacity, storage } },
    })
    fresh.volumes.put(grown)
    return grown
  }

  async function provision(claim: PersistentVolumeClaim, storageClass: StorageClass): Promise<void> {
    const { provisioner } = storageClass
    await writeClaimStatus(claim, { ...claim.status, phase: 'Pending' })
    if (provisioner !== localProvisioner || volumesDir === undefined) return leaveToOthers(claim, provisioner)
    const obstacle = obstacleOf(claim)
    if (obstacle !== undefined) return tell(claim, { type: 'Warning', reason: 'ProvisioningFailed', message: obstacle })
    const volume = renderLocalVolume(claim, storageClass, volumesDir)
    await makeLocalVolume(volume)
    await ignoreExists(volumes.create(volume))
    const message = `Successfully provisioned volume ${volume.metadata?.name}`
    tell(claim, { type: 'Normal', reason: 'ProvisioningSucceeded', message })
  }

  /** By this annotation provisioners that run as pods know what is theirs. */
  async function leaveToOthers(claim: PersistentVolumeClaim, provisioner: string): Promise<void> {
    const wanted = {
      'volume.beta.kubernetes.io/storage-provisioner': provisioner,
      'volume.kubernetes.io/storage-provisioner': provisioner,
    }
    const annotations = { ...claim.metadata?.annotations, ...wanted }
    if (!isDeepStrictEqual(annotations, { ...claim.metadata?.annotations })) {
      fresh.claims.put(
        await claims.update({ ...claim, metadata: { ...claim.metadata, annotations, resourceVersion: undefined } }),
      )
    }
    const message = `Waiting for a volume to be created either by the external provisioner '${provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`
    tell(claim, { type: 'Normal', reason: 'ExternalProvisioning', message })
  }

  function tell(claim: PersistentVolumeClaim, event: ClaimEvent): void {
    recorder.record(claim, event)
  }

  async function writeClaimStatus(
    claim: PersistentVolumeClaim,
    status: NonNullable<PersistentVolumeClaim['status']>,
  ): Promise<void> {
    if (hasStatus(claim, status)) return
    const written = await ignoreNotFound(claims.updateStatus({ ...claim, status }))
    if (written !== undefined) fresh.claims.put(written)
  }

  /** Keys of the claims a volume concerns: its own, or, while it has none, all without a volume. */
  function claimsOf({ spec, metadata }: PersistentVolume): string[] {
    const { namespace = '', name = '' } = spec?.claimRef ?? {}
    if (spec?.claimRef !== undefined) return [`${namespace}/${name}`]
    return informers.claims
      .list()
      .filter((claim) => [metadata?.name, undefined, ''].includes(claim.spec?.volumeName))
      .map(keyOf)
  }

  return runController({
    name: 'persistent-volume-claim',
    concurrency: 1,
    signal,
    onError,
    clock,
    sources: [
      // The node a claim was given is known before the claim.
      fromInformer(informers.nodes, () => []),
      fromInformer(informers.storageClasses, (storageClass) =>
        informers.claims
          .list()
          .filter((claim) => classOf(claim) === storageClass.metadata?.name || mayGet(claim, storageClass))
          .map(keyOf),
      ),
      fromInformer(informers.volumes, claimsOf),
      fromInformer(informers.claims, (claim) => [keyOf(claim)]),
    ],
    reconcile,
  })
}

/** Whether a class that is the default now helps a claim. */
function mayGet(claim: PersistentVolumeClaim, storageClass: StorageClass): boolean {
  const isBound = (claim.spec?.volumeName ?? '') !== ''
  return !isBound && isUnclassified(claim) && isDefaultClass(storageClass)
}
