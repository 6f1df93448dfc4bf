import { coded, messageOf, quote } from '../errors.ts'
import type { ServiceError } from '../errors.ts'

export function otlpCertificateUnreadable(setting: string, file: string, cause: unknown): ServiceError {
  return coded(
    new Error(`Cannot read certificate file ${quote(file)} of ${setting}: ${messageOf(cause)}`, { cause }),
    'FAIRLEAD_SERVICE_OTLP_CERTIFICATE',
    `Set the environment variable ${setting} to a PEM file that the service may read, or remove it`,
  )
}
