import { once } from 'node:events'
import { constants, createGzip } from 'node:zlib'

import type { Piece } from '../storage/collection.ts'
import type { ApiRequest, ApiResponse, Sink } from './exchange.ts'
import { inSlices, lengthOf } from './pieces.ts'

/** Smaller answers are sent sooner as they are. */
const thresholdBytes = 128 << 10
const aheadBytes = 1 << 20

/**
 * The answer as gzip, for clients that asked for it and are on another machine or in a pod: on loopback, where there is more
 * bandwidth than time, compressing a long list takes longer than sending it. Compressed on other threads, piece by piece.
 */
export function compress(request: ApiRequest, answer: ApiResponse): ApiResponse {
  const { body, headers, status } = answer
  if (!('pieces' in body) || status !== 200 || !wantsGzip(request)) return answer
  const size = lengthOf(body.pieces)
  if (size <= thresholdBytes) return answer
  const vary = [headers['vary'] ?? [], 'Accept-Encoding'].flat().join(', ')
  return {
    status,
    headers: { ...headers, 'content-encoding': 'gzip', vary },
    body: { stream: (sink) => writeCompressed(body.pieces, sink, request.signal) },
  }
}

function wantsGzip({ method, headers, remoteAddress = '' }: ApiRequest): boolean {
  if (method !== 'GET' || isLoopback(remoteAddress)) return false
  const asked = (headers['accept-encoding'] ?? '').split(',').map((each) => each.trim())
  return asked.some((each) => /^gzip(?:;|$)/.test(each) && !/;\s*q=0(?:\.0*)?$/.test(each))
}

function isLoopback(address: string): boolean {
  return address === '' || address === '::1' || /^(?:::ffff:)?127\./.test(address)
}

async function writeCompressed(pieces: readonly Piece[], sink: Sink, signal: AbortSignal): Promise<void> {
  const gzip = createGzip({ level: constants.Z_BEST_SPEED })
  const ended = once(gzip, 'end')
  gzip.on('data', (chunk: Buffer) => sink.write(chunk))
  for (const slice of inSlices(pieces)) {
    if (signal.aborted) break
    if (!gzip.write(slice)) await once(gzip, 'drain')
    if (sink.waitingBytes > aheadBytes) await sink.drained()
  }
  gzip.end()
  await ended
}
