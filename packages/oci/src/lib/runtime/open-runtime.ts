import type { ContainerRuntime } from './driver.ts'
import { openOciRuntime } from './oci-runtime.ts'
import type { RuntimeOptions } from './oci-runtime.ts'
import { openProcessRuntime } from './process-runtime.ts'

/** A runtime, and why it is not the isolating one when `auto` had to do without. */
export interface OpenedRuntime {
  readonly runtime: ContainerRuntime
  readonly reason?: string | undefined
}

/**
 * Opens the runtime this machine can have: containers by runc or crun, else plain processes. `containers` throws
 * `FAIRLEAD_OCI_RUNTIME_UNAVAILABLE` where they are not to be had.
 */
export async function openRuntime(
  mode: 'auto' | 'containers' | 'processes',
  options: RuntimeOptions,
): Promise<OpenedRuntime> {
  if (mode === 'processes') return { runtime: await openProcessRuntime(options) }
  try {
    return { runtime: await openOciRuntime(options) }
  } catch (error) {
    if (mode === 'containers' || (error as { code?: string }).code !== 'FAIRLEAD_OCI_RUNTIME_UNAVAILABLE') throw error
    return { runtime: await openProcessRuntime(options), reason: (error as Error).message }
  }
}
