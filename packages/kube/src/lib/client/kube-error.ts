import type { Status } from '../types/generated/meta-v1.ts'

/** An answer of the API server that is not a success, with the `Status` it gave. */
export class KubeError extends Error {
  readonly code = 'FAIRLEAD_KUBE_API'
  readonly status: Status
  readonly httpStatus: number
  /** `status.reason`: NotFound, AlreadyExists, Conflict, Invalid, Expired...; empty when the server gave none. */
  readonly reason: string
  readonly hint: string | undefined
  /** What the server asked to wait before the next try (`Retry-After`), milliseconds. */
  readonly retryAfterMs: number | undefined

  constructor(
    status: Status,
    httpStatus: number,
    options: ErrorOptions & { readonly retryAfterMs?: number | undefined } = {},
  ) {
    super(status.message ?? `Cannot complete request: status ${httpStatus}`, options)
    this.name = 'KubeError'
    this.status = status
    this.httpStatus = httpStatus
    this.reason = status.reason ?? ''
    this.hint = hints.get(httpStatus)
    this.retryAfterMs = options.retryAfterMs
  }
}

const hints: ReadonlyMap<number, string> = new Map([
  [401, 'Check the credentials of the kubeconfig context in use'],
  [403, 'Ask for a role that allows this, or choose another kubeconfig context'],
])

/** Whether the object, or the kind, does not exist. */
export function isNotFound(error: unknown): error is KubeError {
  return error instanceof KubeError && error.httpStatus === 404
}

/** Whether the write was made against an old version (409 Conflict): read again and repeat. */
export function isConflict(error: unknown): error is KubeError {
  return error instanceof KubeError && error.httpStatus === 409 && error.reason !== 'AlreadyExists'
}

/** Whether an object of that name exists already (409 AlreadyExists). */
export function isAlreadyExists(error: unknown): error is KubeError {
  return error instanceof KubeError && error.reason === 'AlreadyExists'
}

/** Whether the version asked for is no longer kept (410 Gone or Expired): list again. */
export function isGone(error: unknown): error is KubeError {
  return (
    error instanceof KubeError && (error.httpStatus === 410 || error.reason === 'Expired' || error.reason === 'Gone')
  )
}

/** Whether the object was refused as malformed (422 Invalid); `status.details.causes` names the fields. */
export function isInvalid(error: unknown): error is KubeError {
  return error instanceof KubeError && error.httpStatus === 422
}
