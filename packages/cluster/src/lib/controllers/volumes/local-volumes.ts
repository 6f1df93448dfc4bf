import { chmod, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

import type { KubeClient } from '@fairlead/kube'
import type { PersistentVolume, PersistentVolumeClaim } from '@fairlead/kube/types/core-v1'
import type { StorageClass } from '@fairlead/kube/types/storage-v1'

import { ignoreExists } from '../write.ts'

/** The provisioner of the default class: directories of this machine. */
export const localProvisioner = 'fairlead.dev/local-path'
export const provisionedBy = 'pv.kubernetes.io/provisioned-by'

/** The class of claims that name none. A volume lives as long as its claim. */
const defaultStorageClass: StorageClass = {
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name: 'local-path', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
  provisioner: localProvisioner,
  reclaimPolicy: 'Delete',
  volumeBindingMode: 'Immediate',
  allowVolumeExpansion: true,
}

/** Makes the default class where it is missing; one that was changed stays as it is. */
export async function ensureStorageClass(client: KubeClient): Promise<void> {
  await ignoreExists(client.resource('storage.k8s.io/v1/StorageClass').create(defaultStorageClass))
}

/** What a claim asks for that a directory cannot be; undefined when it can. */
export function obstacleOf({ spec }: PersistentVolumeClaim): string | undefined {
  const unable = (what: string): string => `Cannot provision volume: ${what} by ${localProvisioner}`
  if (spec?.volumeMode === 'Block') return unable('block volumes are not supported')
  if (spec?.selector !== undefined) return unable('selectors of claims are not supported')
  return (spec?.volumeAttributesClassName ?? '') === ''
    ? undefined
    : unable('classes of volume attributes are not supported')
}

/** A directory below `dir` as the volume of a claim; its name says whose it is. The size asked for is not enforced. */
export function renderLocalVolume(
  claim: PersistentVolumeClaim,
  storageClass: StorageClass,
  dir: string,
): PersistentVolume {
  const { name = '', namespace = '', uid = '' } = claim.metadata ?? {}
  const volumeName = `pvc-${uid}`
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: volumeName, annotations: { [provisionedBy]: localProvisioner } },
    spec: {
      capacity: { storage: claim.spec?.resources?.requests?.['storage'] ?? '0' },
      accessModes: claim.spec?.accessModes,
      volumeMode: 'Filesystem',
      storageClassName: storageClass.metadata?.name,
      persistentVolumeReclaimPolicy: storageClass.reclaimPolicy ?? 'Delete',
      mountOptions: storageClass.mountOptions,
      claimRef: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name, uid },
      hostPath: { path: join(dir, `${volumeName}_${namespace}_${name}`), type: 'DirectoryOrCreate' },
    },
  }
}

/** Pods of any user write there. */
export async function makeLocalVolume(volume: PersistentVolume): Promise<void> {
  const path = volume.spec?.hostPath?.path
  if (path === undefined) return
  await mkdir(path, { recursive: true })
  await chmod(path, 0o777)
}

/** Removes what a volume held, if `dir` is where it was made: the path may have been changed since. */
export async function removeLocalVolume(volume: PersistentVolume, dir: string): Promise<void> {
  const path = volume.spec?.hostPath?.path ?? ''
  const { namespace = '', name = '' } = volume.spec?.claimRef ?? {}
  if (path !== join(dir, `${volume.metadata?.name}_${namespace}_${name}`)) return
  await rm(path, { recursive: true, force: true })
}
