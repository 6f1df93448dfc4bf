import type { ControllerContext } from '../context.ts'
import { runClaimController } from './claim-controller.ts'
import { createFreshObjects } from './fresh-objects.ts'
import { runVolumeController } from './volume-controller.ts'

export interface VolumeBinderOptions {
  /** Where volumes of the local provisioner are made. Default: none are, and their claims wait. */
  readonly volumesDir?: string | undefined
}

/** Brings claims and volumes together, makes volumes where the class is ours, and lets go what nobody claims. */
export async function runVolumeBinder(context: ControllerContext, options: VolumeBinderOptions): Promise<void> {
  const fresh = createFreshObjects(context)
  await Promise.all([runClaimController(context, fresh, options), runVolumeController(context, fresh, options)])
}
