import { messageOf } from '../errors.ts'
import type { Answer } from './call.ts'
import { secretAbsent, secretDenied, secretUnavailable } from './errors.ts'
import type { ServiceError } from '../errors.ts'

/** A call that brought no answer. The message names the address and what happened, nothing that was sent. */
export class CallFailed extends Error {}

/** What went wrong at a provider, before the reference is named. `unavailable` is worth another try soon. */
export class ProviderFault extends Error {
  readonly kind: 'absent' | 'denied' | 'unavailable'
  readonly hint: string

  constructor(kind: ProviderFault['kind'], state: string, hint: string, cause?: unknown) {
    super(state, cause === undefined ? {} : { cause })
    this.kind = kind
    this.hint = hint
  }
}

/** The error a user sees, naming provider, reference, cause and way out. */
export function toServiceError(provider: string, reference: string, error: unknown): ServiceError {
  if (error instanceof ProviderFault) {
    if (error.kind === 'absent') return secretAbsent(provider, reference, error.message, error.hint)
    const create = error.kind === 'denied' ? secretDenied : secretUnavailable
    return create(provider, reference, error.message, error.hint, error.cause)
  }
  if (error instanceof CallFailed) {
    const hint = `Check that this process may reach ${provider}; the last good value is used meanwhile, if there is one`
    return secretUnavailable(provider, reference, error.message, hint)
  }
  if (isServiceError(error)) {
    // The deadline of the whole reading, which says nothing of the provider.
    const isLate = error.code === 'FAIRLEAD_SERVICE_TIMEOUT'
    return isLate
      ? secretUnavailable(provider, reference, 'it did not answer in time', `Check ${provider}`, error)
      : error
  }
  return secretUnavailable(provider, reference, messageOf(error), 'Look at the cause', error)
}

/**
 * What a provider said of an error in its answer, fit for a message: the first line, shortened, without any of the credentials that were
 * sent.
 */
export function quoteProvider(text: string | undefined, { sent }: Pick<Answer, 'sent'>): string {
  let line = (text ?? '').split(/[\r\n]/, 1)[0] ?? ''
  for (const credential of sent) line = line.replaceAll(credential, '[redacted]')
  line = line.trim()
  return line.length > 240 ? `${line.slice(0, 240)}…` : line
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'hint' in error
}
