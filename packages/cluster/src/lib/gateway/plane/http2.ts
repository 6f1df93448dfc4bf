import type { Http2ServerRequest } from 'node:http2'
import type { Incoming } from './incoming.ts'

/** node:http2 where it is spoken: a cluster without a gateway need not wait for it and keep it, 7 ms and 5 MB. */
export function nodeHttp2(): typeof import('node:http2') {
  return process.getBuiltinModule('node:http2')
}

export function isHttp2(request: Incoming): request is Http2ServerRequest {
  return request.httpVersionMajor === 2
}
