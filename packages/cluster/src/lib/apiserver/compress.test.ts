import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { gunzipSync } from 'node:zlib'

import { compress } from './compress.ts'
import type { ApiRequest, ApiResponse, Sink } from './exchange.ts'

const pieces = [Buffer.alloc(200_000, 'a'), Buffer.alloc(200_000, 'b')]
const answer: ApiResponse = { status: 200, headers: { vary: 'Accept' }, body: { pieces } }

function requestOf(more: Partial<ApiRequest>): ApiRequest {
  return {
    method: 'GET',
    path: '/api/v1/pods',
    query: new URLSearchParams(),
    headers: { 'accept-encoding': 'deflate, gzip;q=1.0' },
    identity: { user: 'joe', groups: [] },
    remoteAddress: '10.244.0.7',
    signal: new AbortController().signal,
    readBody: () => Promise.resolve(Buffer.alloc(0)),
    ...more,
  }
}

describe('compress', () => {
  it('sends a long answer as gzip to another machine', async () => {
    const { headers, body } = compress(requestOf({}), answer)
    assert.deepEqual(headers, { vary: 'Accept, Accept-Encoding', 'content-encoding': 'gzip' })
    assert.ok('stream' in body)
    const written: Buffer[] = []
    const sink: Sink = {
      isLocal: false,
      waitingBytes: 0,
      write: (bytes) => void written.push(bytes),
      writeFrames: (frames) => void written.push(...frames.map(({ line }) => line)),
      drained: () => Promise.resolve(),
    }
    await body.stream(sink)
    assert.ok(Buffer.concat(written).length < 10_000)
    assert.deepEqual(gunzipSync(Buffer.concat(written)), Buffer.concat(pieces))
  })

  for (const { name, request, of } of [
    { name: 'a client on this machine', request: { remoteAddress: '127.0.0.1' }, of: answer },
    { name: 'a client on this machine by IPv6', request: { remoteAddress: '::ffff:127.0.0.1' }, of: answer },
    { name: 'a caller in this process', request: { remoteAddress: undefined }, of: answer },
    { name: 'a client that did not ask', request: { headers: {} }, of: answer },
    { name: 'a client that refuses', request: { headers: { 'accept-encoding': 'gzip;q=0' } }, of: answer },
    { name: 'a request for the headers alone', request: { method: 'HEAD' }, of: answer },
    { name: 'a short answer', request: {}, of: { ...answer, body: { pieces: [Buffer.alloc(1000)] } } },
    { name: 'an error', request: {}, of: { ...answer, status: 500 } },
  ]) {
    it(`leaves the answer to ${name} as it is`, () => assert.equal(compress(requestOf(request), of), of))
  }
})
