import { coded, quote } from '../errors.ts'
import type { ServiceError } from '../errors.ts'

export function logOptionInvalid(option: string, value: string, expected: string): ServiceError {
  return coded(
    new TypeError(`Cannot use log option ${quote(option)}: it is ${quote(value)}, expected ${expected}`),
    'FAIRLEAD_SERVICE_LOG',
    'Correct the argument of createLogger({...}) or of log.named()',
  )
}
