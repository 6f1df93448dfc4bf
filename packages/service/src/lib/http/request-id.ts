import type { IncomingMessage } from 'node:http'
import { randomUuid } from '../trace/ids.ts'

/** The caller's id when it is short and plain (it goes into logs and headers), else a new one. */
export function requestIdOf(request: IncomingMessage): string {
  const given = request.headers['x-request-id']
  return typeof given === 'string' && /^[\w.:+=/@-]{1,128}$/.test(given) ? given : randomUuid()
}
