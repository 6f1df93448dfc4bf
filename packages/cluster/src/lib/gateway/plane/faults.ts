import { isHttp2 } from './http2.ts'
import type { Incoming, IncomingFacts } from './incoming.ts'

/** Why a request is not to be passed on. */
export interface RequestFault {
  readonly status: number
  readonly text: string
}

/**
 * What two readers could understand differently, or who passes it on could not say again, beyond what Node's parser refuses. Undefined for
 * sound requests.
 */
export function faultOf(request: Incoming, { authority }: Pick<IncomingFacts, 'authority'>): RequestFault | undefined {
  // RFC 9110, 4.2.4 and 7.2: a host, a port, and nothing else.
  if (isOddAuthority.test(authority)) return { status: 400, text: 'the request has a Host that names none' }
  // RFC 9112, 3.2: a fragment is no part of what is asked for.
  if (request.url?.includes('#') === true) return { status: 400, text: 'the request asks for a fragment' }
  if (isHttp2(request)) return undefined
  if (hasTwoHosts(request.rawHeaders)) return { status: 400, text: 'the request has two Hosts (RFC 9112, 3.2)' }
  const { 'transfer-encoding': encoding } = request.headers
  if (encoding === undefined) return undefined
  // RFC 9112, 6.1.
  if (request.httpVersion === '1.0') return { status: 400, text: 'HTTP/1.0 has no Transfer-Encoding' }
  return encoding.toLowerCase() === 'chunked'
    ? undefined
    : { status: 501, text: 'of transfer codings only chunked is known' }
}

const isOddAuthority = /[^\w.:[\]%!$&'()*+;=~-]/

function hasTwoHosts(headers: readonly string[]): boolean {
  let hosts = 0
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index] ?? ''
    if (name.length === 4 && (name === 'host' || name === 'Host' || name.toLowerCase() === 'host')) hosts++
  }
  return hosts > 1
}
