import { coded, quote } from '../errors.ts'
import type { ServiceError } from '../errors.ts'

/** The text of a reference is not one; what it says is not repeated, because it may be the secret itself. */
export function referenceInvalid(scheme: string, state: string): ServiceError {
  return coded(
    new SyntaxError(`Cannot parse secret reference of scheme ${quote(scheme)}: ${state}`),
    'FAIRLEAD_SERVICE_SECRET_REFERENCE',
    'Write references as scheme://name?option=value#field; docs/service/secrets.md has a table of the schemes',
  )
}

/** The provider was asked and has no such secret, version or field. */
export function secretAbsent(provider: string, reference: string, state: string, hint: string): ServiceError {
  return coded(
    new Error(`Cannot read secret ${quote(reference)} of ${provider}: ${state}`),
    'FAIRLEAD_SERVICE_SECRET_ABSENT',
    hint,
  )
}

/** No credentials, credentials that are refused, or a permission that is missing. */
export function secretDenied(
  provider: string,
  reference: string,
  state: string,
  hint: string,
  cause?: unknown,
): ServiceError {
  return coded(
    new Error(`Cannot read secret ${quote(reference)} of ${provider}: ${state}`, cause === undefined ? {} : { cause }),
    'FAIRLEAD_SERVICE_SECRET_DENIED',
    hint,
  )
}

/** The provider did not answer, or not with anything useful; it may be well again later. */
export function secretUnavailable(
  provider: string,
  reference: string,
  state: string,
  hint: string,
  cause?: unknown,
): ServiceError {
  return coded(
    new Error(`Cannot read secret ${quote(reference)} of ${provider}: ${state}`, cause === undefined ? {} : { cause }),
    'FAIRLEAD_SERVICE_SECRET_UNAVAILABLE',
    hint,
  )
}

/** The secret is there and is not of the form asked for. */
export function secretFormat(reference: string, state: string, hint: string): ServiceError {
  return coded(new TypeError(`Cannot use secret ${quote(reference)}: ${state}`), 'FAIRLEAD_SERVICE_SECRET_FORMAT', hint)
}

export function secretsClosed(reference: string): ServiceError {
  return coded(
    new Error(`Cannot read secret ${quote(reference)}: the secrets were closed`),
    'FAIRLEAD_SERVICE_SECRET_CLOSED',
    'Keep the secrets open for as long as something reads them; as a resource they are closed after what needs them',
  )
}

export function secretLimit(limit: number): ServiceError {
  return coded(
    new RangeError(`Cannot open another secret: ${limit} are open, expected at most that many`),
    'FAIRLEAD_SERVICE_SECRET_LIMIT',
    'Do not make references from the input of users; or raise maxSecrets',
  )
}
