import { parseQuantity } from '@fairlead/kube/types'
import type { PersistentVolumeClaim, PersistentVolumeClaimSpec } from '@fairlead/kube/types/core-v1'

import { isEqual } from '../metadata.ts'
import { forbidden } from './field-errors.ts'
import type { FieldError } from '../status.ts'

const oldClassAnnotation = 'volume.beta.kubernetes.io/storage-class'

/**
 * What of a claim may not become another: all but its volume, which is named once, the class of one that named none, and
 * of a bound claim its size and class of attributes (Kubernetes' ValidatePersistentVolumeClaimUpdate).
 */
export function validateClaimUpdate(claim: PersistentVolumeClaim, old: PersistentVolumeClaim): FieldError[] {
  const errors: FieldError[] = []
  if (!isEqual(fixedPart(claim, old), fixedPart(old, old))) {
    errors.push(
      forbidden(
        'spec',
        'spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims',
      ),
    )
  }
  const size = sizeOf(claim)
  if (size < sizeOf(old) && size <= (parseQuantity(old.status?.capacity?.['storage'] ?? '0') ?? 0)) {
    errors.push(forbidden('spec.resources.requests.storage', 'field can not be less than status.capacity'))
  }
  const attributesClass = claim.spec?.volumeAttributesClassName ?? ''
  if (old.status?.currentVolumeAttributesClassName !== undefined && attributesClass === '') {
    const what = claim.spec?.volumeAttributesClassName === undefined ? 'nil' : 'empty string'
    const message = `update to ${what} is forbidden when status.currentVolumeAttributesClassName is not nil`
    errors.push(forbidden('spec.volumeAttributesClassName', message))
  }
  return errors
}

function fixedPart({ spec }: PersistentVolumeClaim, old: PersistentVolumeClaim): PersistentVolumeClaimSpec {
  const before = old.spec
  const isBound = old.status?.phase === 'Bound'
  return {
    ...spec,
    ...((before?.volumeName ?? '') === '' && { volumeName: '' }),
    ...(isClassified(spec, old) && { storageClassName: undefined }),
    ...(isBound && {
      volumeAttributesClassName: undefined,
      resources: { ...spec?.resources, requests: { ...spec?.resources?.requests, storage: '' } },
    }),
  }
}

/** A claim that said nothing of classes may be given one. */
function isClassified(spec: PersistentVolumeClaimSpec | undefined, old: PersistentVolumeClaim): boolean {
  const annotation = old.metadata?.annotations?.[oldClassAnnotation]
  return old.spec?.storageClassName === undefined && (annotation === undefined || annotation === spec?.storageClassName)
}

function sizeOf({ spec }: PersistentVolumeClaim): number {
  return parseQuantity(spec?.resources?.requests?.['storage'] ?? '0') ?? 0
}
