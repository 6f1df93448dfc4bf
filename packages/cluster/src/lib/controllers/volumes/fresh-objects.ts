import type { PersistentVolume, PersistentVolumeClaim } from '@fairlead/kube/types/core-v1'

import type { ControllerContext } from '../context.ts'
import { createFreshest } from '../freshest.ts'
import type { Freshest } from '../freshest.ts'
import { ignoreNotFound } from '../write.ts'

/** Claims and volumes as both controllers of the binder see them: never older than what either of them wrote. */
export interface FreshObjects {
  readonly claims: Freshest<PersistentVolumeClaim>
  readonly volumes: Freshest<PersistentVolume>
  /** Writes the phase of a volume, unless it has it. */
  writePhase(volume: PersistentVolume, phase: string): Promise<void>
}

export function createFreshObjects({ client, informers }: ControllerContext): FreshObjects {
  const objects = client.resource('v1/PersistentVolume')
  const volumes = createFreshest(informers.volumes)
  return {
    claims: createFreshest(informers.claims),
    volumes,
    async writePhase(volume, phase) {
      if (volume.status?.phase === phase) return
      const written = await ignoreNotFound(objects.updateStatus({ ...volume, status: { ...volume.status, phase } }))
      if (written !== undefined) volumes.put(written)
    },
  }
}
