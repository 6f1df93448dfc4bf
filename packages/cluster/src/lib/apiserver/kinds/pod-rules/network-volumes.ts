import type { ISCSIVolumeSource, Volume } from '@fairlead/kube/types/core-v1'

import type { FieldError } from '../../status.ts'
import { invalid, required } from '../field-errors.ts'

/** What volumes on other machines must name; the node mounts some of these kinds, objects of all are kept. */
export function validateNetworkSource(volume: Volume, path: string, errors: FieldError[]): void {
  const { nfs, iscsi, fc } = volume
  for (const [kind, fields, shown = kind] of mustNames) {
    const source = volume[kind] as Readonly<Record<string, unknown>> | undefined
    if (source === undefined) continue
    for (const field of fields) {
      if (isEmpty(source[field])) errors.push(required(`${path}.${shown}.${field}`))
    }
  }
  if (nfs !== undefined && nfs.path !== '' && !nfs.path.startsWith('/')) {
    errors.push(invalid(`${path}.nfs.path`, nfs.path, 'must be an absolute path'))
  }
  if (iscsi !== undefined) validateIscsi(iscsi, `${path}.iscsi`, errors)
  if (fc === undefined) return
  const hasNames = (fc.targetWWNs ?? []).length > 0
  const hasIds = (fc.wwids ?? []).length > 0
  const why = 'must specify either targetWWNs or wwids, but not both'
  const field = `${path}.fc.targetWWNs`
  if (!hasNames && !hasIds) errors.push(required(field, why))
  else if (hasNames && hasIds) errors.push(invalid(field, fc.targetWWNs, why))
  else if (hasNames && fc.lun === undefined) {
    errors.push(required(`${path}.fc.lun`, 'lun is required if targetWWNs is specified'))
  }
}

/** Fields that must be there; the third is what upstream calls the kind in its findings. */
const mustNames: readonly (readonly [keyof Volume, readonly string[], string?])[] = [
  ['nfs', ['server', 'path']],
  ['gitRepo', ['repository']],
  ['gcePersistentDisk', ['pdName'], 'persistentDisk'],
  ['awsElasticBlockStore', ['volumeID']],
  ['glusterfs', ['endpoints', 'path']],
  ['rbd', ['monitors', 'image']],
  ['cephfs', ['monitors']],
  ['azureFile', ['secretName', 'shareName']],
  ['cinder', ['volumeID']],
]

function isEmpty(value: unknown): boolean {
  return value === undefined || value === '' || (Array.isArray(value) && value.length === 0)
}

function validateIscsi({ targetPortal, iqn, lun }: ISCSIVolumeSource, path: string, errors: FieldError[]): void {
  if (targetPortal === '') errors.push(required(`${path}.targetPortal`))
  if (iqn === '') errors.push(required(`${path}.iqn`))
  else if (!/^(iqn|eui|naa)/.test(iqn)) {
    errors.push(invalid(`${path}.iqn`, iqn, 'must be valid format starting with iqn, eui, or naa'))
  }
  if (lun < 0 || lun > 255) errors.push(invalid(`${path}.lun`, lun, 'must be between 0 and 255, inclusive'))
}
