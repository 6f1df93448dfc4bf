import { badRequest } from './status.ts'

/** Where a list goes on: clients take it as it is. */
export interface ContinueToken {
  /** The revision of the first page; -1 for the newest one, whatever that is. */
  readonly revision: number
  /** The last id of the page before. */
  readonly after: string
}

/** The form of upstream: the key to start at is the first one after the last of the page. */
export function renderContinueToken({ revision, after }: ContinueToken): string {
  const token = { v: 'meta.k8s.io/v1', rv: revision, start: `${after}\0` }
  return Buffer.from(JSON.stringify(token)).toString('base64url')
}

/** Reads a token; throws 400 for one that no page of ours had. */
export function parseContinueToken(text: string): ContinueToken {
  const { v, rv, start } = read(text)
  if (v !== 'meta.k8s.io/v1') throw refuse(`server does not recognize this encoded version ${String(v)}`)
  if (typeof rv !== 'number' || !Number.isInteger(rv) || rv === 0) {
    throw refuse('incorrect encoded start resourceVersion (version meta.k8s.io/v1)')
  }
  if (typeof start !== 'string' || start === '') throw refuse('encoded start key empty (version meta.k8s.io/v1)')
  return { revision: Math.max(rv, -1), after: start.endsWith('\0') ? start.slice(0, -1) : start }
}

function read(text: string): { v?: unknown; rv?: unknown; start?: unknown } {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
    if (typeof parsed === 'object' && parsed !== null) return parsed
  } catch {
    // Falls through to the one message for every unreadable token.
  }
  throw badRequest('invalid continue token: continue key is not valid')
}

function refuse(detail: string): Error {
  return badRequest(`invalid continue token: continue key is not valid: ${detail}`)
}
