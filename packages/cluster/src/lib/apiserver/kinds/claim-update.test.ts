import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { PersistentVolumeClaim, PersistentVolumeClaimSpec } from '@fairlead/kube/types/core-v1'

import { validateClaimUpdate } from './claim-update.ts'

function claim(
  change: PersistentVolumeClaimSpec = {},
  status: PersistentVolumeClaim['status'] = { phase: 'Pending' },
): PersistentVolumeClaim {
  const spec = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '2Gi' } }, ...change }
  return { metadata: { name: 'data' }, spec, status }
}

const bound = { phase: 'Bound', capacity: { storage: '2Gi' } }
const size = (storage: string): PersistentVolumeClaimSpec => ({ resources: { requests: { storage } } })

void describe('validateClaimUpdate', () => {
  for (const { name, old, changed, field } of [
    { name: 'nothing changes', old: claim(), changed: claim() },
    { name: 'the volume is named', old: claim(), changed: claim({ volumeName: 'a' }) },
    {
      name: 'the volume is another',
      old: claim({ volumeName: 'a' }),
      changed: claim({ volumeName: 'b' }),
      field: 'spec',
    },
    { name: 'a class is given where none was named', old: claim(), changed: claim({ storageClassName: 'fast' }) },
    {
      name: 'a class is given where none was wanted',
      old: claim({ storageClassName: '' }),
      changed: claim({ storageClassName: 'fast' }),
      field: 'spec',
    },
    { name: 'the modes change', old: claim(), changed: claim({ accessModes: ['ReadWriteMany'] }), field: 'spec' },
    { name: 'a bound claim grows', old: claim({}, bound), changed: claim(size('3Gi')) },
    { name: 'one that waits grows', old: claim(), changed: claim(size('3Gi')), field: 'spec' },
    {
      name: 'a bound claim shrinks below what it has',
      old: claim(size('3Gi'), bound),
      changed: claim(size('1Gi')),
      field: 'spec.resources.requests.storage',
    },
    {
      name: 'growth that was never had is taken back',
      old: claim(size('9Gi'), bound),
      changed: claim(size('3Gi')),
    },
    {
      name: 'a bound claim wants other attributes',
      old: claim({}, bound),
      changed: claim({ volumeAttributesClassName: 'gold' }),
    },
    {
      name: 'it wants none any more',
      old: claim({ volumeAttributesClassName: 'gold' }, { ...bound, currentVolumeAttributesClassName: 'gold' }),
      changed: claim(),
      field: 'spec.volumeAttributesClassName',
    },
  ]) {
    void it(`${field === undefined ? 'allows' : 'refuses'} that ${name}`, () => {
      assert.deepEqual(
        validateClaimUpdate(changed, old).map((error) => error.field),
        field === undefined ? [] : [field],
      )
    })
  }
})
