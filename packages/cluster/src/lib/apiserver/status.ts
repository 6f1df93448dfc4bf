import type { KindInfo, Status, StatusCause, StatusDetails } from '@fairlead/kube/types'

/** An answer other than success: what the client receives is its `status`, word for word. */
export class StatusError extends Error {
  readonly status: Status & { code: number }
  readonly headers: Readonly<Record<string, string>>

  constructor(
    code: number,
    reason: string,
    message: string,
    facts: { details?: StatusDetails; retryAfter?: number | undefined; continueToken?: string | undefined } = {},
  ) {
    super(message)
    const { details, retryAfter, continueToken } = facts
    const metadata = continueToken === undefined ? {} : { continue: continueToken }
    const base = { kind: 'Status', apiVersion: 'v1', metadata, status: 'Failure', message, reason } as const
    this.status = { ...base, ...(details === undefined ? {} : { details }), code }
    this.headers = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }
  }
}

/** `deployments.apps`: how messages name a resource. */
export function qualifiedResource(info: KindInfo): string {
  return info.group === '' ? info.plural : `${info.plural}.${info.group}`
}

function detailsOf(info: KindInfo, name: string): StatusDetails {
  return info.group === '' ? { name, kind: info.plural } : { name, group: info.group, kind: info.plural }
}

export function badRequest(message: string): StatusError {
  return new StatusError(400, 'BadRequest', message)
}

export function unauthorized(): StatusError {
  return new StatusError(401, 'Unauthorized', 'Unauthorized')
}

export function forbidden(message: string, details: StatusDetails = {}): StatusError {
  return new StatusError(403, 'Forbidden', message, { details })
}

export function forbiddenObject(info: KindInfo, name: string, why: string): StatusError {
  return forbidden(`${qualifiedResource(info)} "${name}" is forbidden: ${why}`, detailsOf(info, name))
}

/** No such path: what upstream answers for URLs it does not serve. */
export function pathNotFound(): StatusError {
  return new StatusError(404, 'NotFound', 'the server could not find the requested resource', { details: {} })
}

export function notFound(info: KindInfo, name: string): StatusError {
  return new StatusError(404, 'NotFound', `${qualifiedResource(info)} "${name}" not found`, {
    details: detailsOf(info, name),
  })
}

export function methodNotAllowed(): StatusError {
  return new StatusError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {
    details: {},
  })
}

/** The definition of a resource is being deleted: nothing new can come. */
export function terminating(info: KindInfo): StatusError {
  const name = qualifiedResource(info)
  const message = `create not allowed while custom resource definition is terminating`
  return new StatusError(405, 'MethodNotAllowed', `${name}: ${message}`, {
    details: { group: info.group, kind: info.plural },
  })
}

export function notAcceptable(accepted: readonly string[]): StatusError {
  return new StatusError(406, 'NotAcceptable', `only the following media types are accepted: ${accepted.join(', ')}`)
}

/** The shape asked for is of a list and the answer is none, or the other way round; `found` says what it is. */
export function notAcceptableShape(asked: string, found: string): StatusError {
  return new StatusError(406, 'NotAcceptable', `you requested ${asked}, but the requested object is ${found}`)
}

export function alreadyExists(info: KindInfo, name: string): StatusError {
  return new StatusError(409, 'AlreadyExists', `${qualifiedResource(info)} "${name}" already exists`, {
    details: detailsOf(info, name),
  })
}

/** Clients match this text. */
const modified = 'the object has been modified; please apply your changes to the latest version and try again'

export function conflict(info: KindInfo, name: string, why: string = modified): StatusError {
  return new StatusError(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${qualifiedResource(info)} "${name}": ${why}`,
    {
      details: detailsOf(info, name),
    },
  )
}

/** `continueToken` leads on where that is possible. */
export function expired(message: string, continueToken?: string): StatusError {
  return new StatusError(410, 'Expired', message, { continueToken })
}

export function tooLarge(limitBytes: number): StatusError {
  return new StatusError(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${limitBytes}`)
}

export function unsupportedMediaType(accepted: readonly string[]): StatusError {
  return new StatusError(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  )
}

/** One finding about one field, worded as upstream words it (`Required value`, `Invalid value: "x": must be...`). */
export interface FieldError {
  readonly field: string
  /** `FieldValueRequired`, `FieldValueInvalid`, ... */
  readonly reason: string
  readonly message: string
}

export function invalid(
  info: Pick<KindInfo, 'group' | 'kind'>,
  name: string,
  errors: readonly FieldError[],
): StatusError {
  const causes: StatusCause[] = errors.map(({ field, reason, message }) => ({ reason, message, field }))
  const lines = errors.map(({ field, message }) => `${field}: ${message}`)
  const text = lines.length === 1 ? lines[0] : `[${lines.join(', ')}]`
  const details: StatusDetails = {
    name,
    ...(info.group === '' ? {} : { group: info.group }),
    kind: info.kind,
    causes,
  }
  const kind = info.group === '' ? info.kind : `${info.kind}.${info.group}`
  return new StatusError(422, 'Invalid', `${kind} "${name}" is invalid: ${text}`, { details })
}

/** What a patch made cannot be taken; of which kind it is, upstream does not say. */
export function invalidPatch(shown: string, why: string): StatusError {
  const message = `Invalid value: ${JSON.stringify(shown)}: ${why}`
  const causes: StatusCause[] = [{ reason: 'FieldValueInvalid', message, field: 'patch' }]
  return new StatusError(422, 'Invalid', ` "" is invalid: patch: ${message}`, { details: { causes } })
}

/** `retryAfter` is in seconds; without, the client decides itself when to try again. */
export function tooManyRequests(
  message: string,
  retryAfter?: number,
  causes?: NonNullable<StatusDetails['causes']>,
): StatusError {
  return new StatusError(429, 'TooManyRequests', message, {
    details: {
      ...(retryAfter !== undefined && { retryAfterSeconds: retryAfter }),
      ...(causes !== undefined && { causes }),
    },
    retryAfter,
  })
}

/** Two budgets cannot be counted against at once. */
export function severalBudgets(): StatusError {
  const message = 'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.'
  return new StatusError(500, 'InternalError', message)
}

export function internalError(message: string): StatusError {
  return new StatusError(500, 'InternalError', `Internal error occurred: ${message}`, {
    details: { causes: [{ message }] },
  })
}

export function unavailable(message: string): StatusError {
  return new StatusError(503, 'ServiceUnavailable', message, { retryAfter: 1 })
}

/** The revision asked for is not reached yet. */
export function tooLargeRevision(asked: number, current: number): StatusError {
  const message = `Too large resource version: ${asked}, current: ${current}`
  return new StatusError(504, 'Timeout', `Timeout: ${message}`, {
    details: {
      causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
      retryAfterSeconds: 1,
    },
    retryAfter: 1,
  })
}

export function timeout(message: string): StatusError {
  return new StatusError(504, 'Timeout', `Timeout: ${message}`)
}

/** The success answer of requests that return no object. */
export function success(info: KindInfo, name: string, uid?: string): Status {
  const details = uid === undefined ? detailsOf(info, name) : { ...detailsOf(info, name), uid }
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details }
}
