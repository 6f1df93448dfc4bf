import { HttpError, toProblem } from './problem.ts'
import { reply } from './reply.ts'
import type { Reply } from './reply.ts'

/** Whatever was thrown, as an answer of the type `application/problem+json` (RFC 9457). */
export function problemReply(error: unknown, requestId: string | undefined): Reply {
  const { status, body } = toProblem(error, requestId)
  const headers = error instanceof HttpError ? error.headers : {}
  return reply(JSON.stringify(body), { status, headers: { ...headers, 'content-type': 'application/problem+json' } })
}
