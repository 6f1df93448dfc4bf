import type { ActionTarget } from '../actions.ts'
import type { PodLife } from '../pod-life.ts'
import type { PodSandbox } from '../pod-sandbox.ts'
import type { Slot } from './slot.ts'

const MAX_OUTPUT_BYTES = 16_384

/** A container as probes and hooks see it. */
export function targetOf(slot: Slot, id: string, { context }: PodLife, sandbox: PodSandbox): ActionTarget {
  return {
    container: slot.def.container,
    podIp: sandbox.attachment?.ip ?? '127.0.0.1',
    exec: (args, timeoutMs) => context.runtime.exec(id, { args, timeoutMs, maxOutputBytes: MAX_OUTPUT_BYTES }),
  }
}
