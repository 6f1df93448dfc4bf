import { coded } from '../errors.ts'
import type { ServiceError } from '../errors.ts'

export function openTelemetryTaken(what: string): ServiceError {
  return coded(
    new Error(`Cannot register ${what} with @opentelemetry/api: another one is registered`),
    'FAIRLEAD_SERVICE_OTEL_TAKEN',
    'Register OpenTelemetry once: either this package or the SDK, not both, and undo a registration before the next',
  )
}
