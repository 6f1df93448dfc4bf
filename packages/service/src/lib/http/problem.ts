import { classCodes } from '../errors.ts'
import { currentScope } from '../trace/current.ts'
import { statusText } from '../node-http.ts'

/** An answer that is an error the caller should see: thrown by a handler, sent as problem details (RFC 9457). */
export class HttpError extends Error {
  override readonly name = 'HttpError'
  readonly code: 'FAIRLEAD_SERVICE_HTTP' = classCodes.http
  readonly hint = 'The caller was told; nothing to do here'
  readonly status: number
  /** Further members of the problem object. */
  readonly members: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, string>>

  constructor(
    status: number,
    detail?: string,
    options: {
      readonly members?: Readonly<Record<string, unknown>>
      readonly headers?: Readonly<Record<string, string>>
      readonly cause?: unknown
    } = {},
  ) {
    super(
      detail ?? statusText(status) ?? `Status ${status}`,
      options.cause === undefined ? {} : { cause: options.cause },
    )
    this.status = status
    this.members = options.members ?? {}
    this.headers = options.headers ?? {}
  }

  /** The answer as a `Response`, which is what Hono asks errors for. */
  getResponse(): Response {
    const { status, body } = toProblem(this, currentScope()?.requestId)
    return Response.json(body, { status, headers: { ...this.headers, 'content-type': 'application/problem+json' } })
  }
}

/**
 * An {@link HttpError} to throw from a handler. `detail` goes to the caller: no secrets, no internals.
 *
 * ```ts
 * throw problem(404, `There is no product "${sku}"`)
 * ```
 */
export function problem(status: number, detail?: string, members?: Readonly<Record<string, unknown>>): HttpError {
  return new HttpError(status, detail, members === undefined ? {} : { members })
}

/** The problem object for any thrown value. What is not an {@link HttpError} becomes a 500 that says nothing of its cause. */
export function toProblem(
  error: unknown,
  requestId: string | undefined,
): { readonly status: number; readonly body: Record<string, unknown> } {
  const status = error instanceof HttpError ? error.status : 500
  const title = statusText(status) ?? 'Error'
  const body: Record<string, unknown> = { type: 'about:blank', title, status }
  if (error instanceof HttpError) {
    if (error.message !== title) body['detail'] = error.message
    Object.assign(body, error.members)
  }
  return { status, body: { ...body, requestId } }
}
