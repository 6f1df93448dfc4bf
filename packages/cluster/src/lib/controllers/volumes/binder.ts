import { isDeepStrictEqual } from 'node:util'

import { fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { PersistentVolume, PersistentVolumeClaim } from '@fairlead/kube/types/core-v1'
import type { StorageClass } from '@fairlead/kube/types/storage-v1'

import type { ControllerContext } from '../context.ts'
import { createFreshest } from '../freshest.ts'
import { hasStatus, ignoreExists, ignoreNotFound } from '../write.ts'
import { bindClaim, bindVolume, decideClaim, decideVolume, selectedNode } from './decide-binding.ts'
import type { ClaimEvent } from './decide-binding.ts'
import { findDefaultClass, isDefaultClass } from './default-class.ts'
import {
  localProvisioner,
  makeLocalVolume,
  obstacleOf,
  provisionedBy,
  removeLocalVolume,
  renderLocalVolume,
} from './local-volumes.ts'
import { capacityOf, classOf, isUnclassified, requestOf } from './match-volume.ts'

export interface VolumeBinderOptions {
  /** Where volumes of the local provisioner are made. Default: none are, and their claims wait. */
  readonly volumesDir?: string | undefined
}

/** Brings claims and volumes together, makes volumes where the class is ours, and lets go what nobody claims. */
export async function runVolumeBinder(context: ControllerContext, { volumesDir }: VolumeBinderOptions): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const claims = client.resource('v1/PersistentVolumeClaim')
  const volumes = client.resource('v1/PersistentVolume')
  const recorder = context.recorder('persistentvolume-controller')
  const freshClaims = createFreshest(informers.claims)
  const freshVolumes = createFreshest(informers.volumes)

  async function reconcileClaim(key: string): Promise<void> {
    const claim = freshClaims.get(key)
    if (claim?.spec === undefined) return
    const step = decideClaim(claim, {
      storageClass: informers.storageClasses.get(undefined, classOf(claim)),
      defaultClass: findDefaultClass(informers.storageClasses.list()),
      volumes: informers.volumes.list().map((volume) => freshVolumes.get(keyOf(volume)) ?? volume),
      node: informers.nodes.get(undefined, claim.metadata?.annotations?.[selectedNode] ?? ''),
    })
    switch (step.act) {
      case 'bind':
        return bind(claim, step.volume)
      case 'provision':
        return provision(claim, step.storageClass)
      case 'classify': {
        const spec = { ...claim.spec, storageClassName: step.storageClass.metadata?.name }
        return freshClaims.put(await claims.update({ ...claim, spec }))
      }
      case 'lose':
        tell(claim, step.event)
        return writeClaimStatus(claim, { ...claim.status, phase: 'Lost' })
      case 'wait':
        if (step.event !== undefined) tell(claim, step.event)
        return writeClaimStatus(claim, { ...claim.status, phase: 'Pending' })
    }
  }

  /** The volume first: whatever fails in between, nobody else gets it. */
  async function bind(claim: PersistentVolumeClaim, volume: PersistentVolume): Promise<void> {
    const taken = bindVolume(volume, claim)
    const held = taken === volume ? volume : await volumes.update(taken)
    freshVolumes.put(held)
    const grown = await grow(claim, held)
    const bound = bindClaim(claim, grown)
    const written = bound === claim ? claim : await claims.update(bound)
    freshClaims.put(written)
    const { accessModes, capacity, volumeAttributesClassName: currentVolumeAttributesClassName } = grown.spec ?? {}
    const facts = { accessModes, capacity, currentVolumeAttributesClassName }
    await writeClaimStatus(written, { ...written.status, phase: 'Bound', ...facts })
    await writeVolumePhase(grown, 'Bound')
  }

  /** A directory is as large as it is said to be. */
  async function grow(claim: PersistentVolumeClaim, volume: PersistentVolume): Promise<PersistentVolume> {
    const isOurs = volume.metadata?.annotations?.[provisionedBy] === localProvisioner
    const storage = claim.spec?.resources?.requests?.['storage']
    if (!isOurs || storage === undefined || requestOf(claim) <= capacityOf(volume)) return volume
    const grown = await volumes.update({
      ...volume,
      spec: { ...volume.spec, capacity: { ...volume.spec?.capacity, storage } },
    })
    freshVolumes.put(grown)
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
      freshClaims.put(
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
    if (written !== undefined) freshClaims.put(written)
  }

  async function reconcileVolume(name: string): Promise<void> {
    const volume = freshVolumes.get(name)
    if (volume?.spec === undefined) return
    const { namespace, name: claimName = '' } = volume.spec.claimRef ?? {}
    const step = decideVolume(volume, freshClaims.get(`${namespace ?? ''}/${claimName}`))
    if (step.act === 'phase') await writeVolumePhase(volume, step.phase)
    if (step.act === 'reclaim') await reclaim(volume)
    if (step.act === 'fail') await giveUp(volume, step)
  }

  async function giveUp(volume: PersistentVolume, why: { reason: string; message: string }): Promise<void> {
    recorder.record(volume, { type: 'Warning', ...why })
    const status = { ...volume.status, phase: 'Failed', message: why.message }
    const written = await ignoreNotFound(volumes.updateStatus({ ...volume, status }))
    if (written !== undefined) freshVolumes.put(written)
  }

  async function reclaim(volume: PersistentVolume): Promise<void> {
    const isOurs = volume.metadata?.annotations?.[provisionedBy] === localProvisioner
    if (!isOurs || volumesDir === undefined || volume.metadata?.deletionTimestamp !== undefined) return
    await removeLocalVolume(volume, volumesDir)
    await ignoreNotFound(volumes.delete(volume.metadata?.name ?? '', { uid: volume.metadata?.uid }))
  }

  async function writeVolumePhase(volume: PersistentVolume, phase: string): Promise<void> {
    if (volume.status?.phase === phase) return
    const written = await ignoreNotFound(volumes.updateStatus({ ...volume, status: { ...volume.status, phase } }))
    if (written !== undefined) freshVolumes.put(written)
  }

  /** Its own claim, and while it is free all that may be waiting for one like it. */
  function claimsOf({ spec, metadata }: PersistentVolume): string[] {
    const { namespace = '', name = '' } = spec?.claimRef ?? {}
    if (spec?.claimRef !== undefined) return [`${namespace}/${name}`]
    return informers.claims
      .list()
      .filter((claim) => [metadata?.name, undefined, ''].includes(claim.spec?.volumeName))
      .map(keyOf)
  }

  const common = { concurrency: 1, signal, onError, clock }
  await Promise.all([
    runController({
      ...common,
      name: 'persistent-volume-claim',
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
      reconcile: reconcileClaim,
    }),
    runController({
      ...common,
      name: 'persistent-volume',
      sources: [
        fromInformer(informers.claims, ({ metadata, spec }) =>
          informers.volumes
            .list()
            .filter(
              (volume) => volume.metadata?.name === spec?.volumeName || volume.spec?.claimRef?.uid === metadata?.uid,
            )
            .map(keyOf),
        ),
        fromInformer(informers.volumes, (volume) => [keyOf(volume)]),
      ],
      // The namespace of a key is empty here.
      reconcile: (key) => reconcileVolume(parseKey(key).name),
    }),
  ])
}

/** Whether a class that is the default now helps a claim. */
function mayGet(claim: PersistentVolumeClaim, storageClass: StorageClass): boolean {
  const isBound = (claim.spec?.volumeName ?? '') !== ''
  return !isBound && isUnclassified(claim) && isDefaultClass(storageClass)
}
