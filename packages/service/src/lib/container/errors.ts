import { coded, quote } from '../errors.ts'
import type { ServiceError } from '../errors.ts'

export function launchFailed(program: string, state: string, hint: string, cause?: unknown): ServiceError {
  return coded(new Error(`Cannot launch ${quote(program)}: ${state}`, { cause }), 'FAIRLEAD_SERVICE_LAUNCH', hint)
}
