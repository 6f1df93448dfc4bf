import { fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { PersistentVolume } from '@fairlead/kube/types/core-v1'

import type { ControllerContext } from '../context.ts'
import { ignoreNotFound } from '../write.ts'
import { decideVolume } from './decide-binding.ts'
import type { FreshObjects } from './fresh-objects.ts'
import { localProvisioner, provisionedBy, removeLocalVolume } from './local-volumes.ts'

/** Keeps the phase of each volume, and takes away those of our own that nobody claims any more. */
export function runVolumeController(
  context: ControllerContext,
  fresh: FreshObjects,
  { volumesDir }: { readonly volumesDir?: string | undefined },
): Promise<void> {
  const { client, informers, clock, signal, onError } = context
  const volumes = client.resource('v1/PersistentVolume')
  const recorder = context.recorder('persistentvolume-controller')

  async function reconcile(name: string): Promise<void> {
    const volume = fresh.volumes.get(name)
    if (volume?.spec === undefined) return
    const { namespace, name: claimName = '' } = volume.spec.claimRef ?? {}
    const step = decideVolume(volume, fresh.claims.get(`${namespace ?? ''}/${claimName}`))
    if (step.act === 'phase') await fresh.writePhase(volume, step.phase)
    if (step.act === 'reclaim') await reclaim(volume)
    if (step.act === 'fail') await giveUp(volume, step)
  }

  async function giveUp(volume: PersistentVolume, why: { reason: string; message: string }): Promise<void> {
    recorder.record(volume, { type: 'Warning', ...why })
    const status = { ...volume.status, phase: 'Failed', message: why.message }
    const written = await ignoreNotFound(volumes.updateStatus({ ...volume, status }))
    if (written !== undefined) fresh.volumes.put(written)
  }

  async function reclaim(volume: PersistentVolume): Promise<void> {
    const isOurs = volume.metadata?.annotations?.[provisionedBy] === localProvisioner
    if (!isOurs || volumesDir === undefined || volume.metadata?.deletionTimestamp !== undefined) return
    await removeLocalVolume(volume, volumesDir)
    await ignoreNotFound(volumes.delete(volume.metadata?.name ?? '', { uid: volume.metadata?.uid }))
  }

  return runController({
    name: 'persistent-volume',
    concurrency: 1,
    signal,
    onError,
    clock,
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
    // Volumes have no namespace: that part of the key is empty.
    reconcile: (key) => reconcile(parseKey(key).name),
  })
}
