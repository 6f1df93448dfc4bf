import assert from 'node:assert/strict'
import { once } from 'node:events'
import { duplexPair } from 'node:stream'
import type { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import { constants, deflateSync } from 'node:zlib'

import { spdyDictionary, SpdyHeaderReader, SpdyHeaderWriter } from './spdy-headers.ts'
import { SpdySession } from './spdy.ts'
import type { SpdyStream } from './spdy.ts'

function openServer(): { near: Duplex; session: SpdySession; streams: SpdyStream[] } {
  const [near, far] = duplexPair()
  const streams: SpdyStream[] = []
  const session = new SpdySession(far, {
    role: 'server',
    maxStreams: 3,
    onStream(stream) {
      stream.on('error', () => {})
      streams.push(stream)
    },
  })
  return { near, session, streams }
}

function control(type: number, payload: Buffer, flags = 0): Buffer {
  const head = Buffer.alloc(8)
  head.writeUInt32BE((0x8003 * 0x1_0000 + type) >>> 0)
  head[4] = flags
  head.writeUIntBE(payload.length, 5, 3)
  return Buffer.concat([head, payload])
}

describe('SpdySession', () => {
  it('carries streams both ways, each end by itself', async () => {
    const [near, far] = duplexPair()
    const server = new SpdySession(far, { role: 'server', onStream: (stream) => stream.pipe(stream) })
    const client = new SpdySession(near, { role: 'client' })
    const bytes = Buffer.alloc(2_000_000, 'spdy')
    const answers = await Promise.all(
      [1, 2, 3].map(async (index) => {
        const stream = client.open({ streamtype: `s${index}` })
        stream.end(bytes)
        return Buffer.concat((await stream.toArray()) as Buffer[]).equals(bytes)
      }),
    )
    assert.deepEqual(answers, [true, true, true])
    client.close()
    await Promise.all([client.ended, server.ended])
  })

  it('stops reading when a stream is not read', async () => {
    const { near, streams } = openServer()
    const client = new SpdySession(near, { role: 'client' })
    const stream = client.open({})
    let sent = 0
    while (sent < 64 << 20 && stream.write(Buffer.alloc(65_536))) sent += 65_536
    await new Promise(setImmediate)
    assert.ok(sent < 4 << 20, `${sent} bytes were taken`)
    assert.ok((streams[0]?.readableLength ?? 0) < 1 << 20)
    client.destroy()
  })

  it('answers a ping, and refuses streams past its limit', async () => {
    const { near, streams } = openServer()
    const writer = new SpdyHeaderWriter()
    const answers: Buffer[] = []
    near.on('data', (chunk: Buffer) => answers.push(chunk))
    for (const id of [1, 3, 5, 7]) {
      const head = Buffer.alloc(10)
      head.writeUInt32BE(id)
      near.write(control(1, Buffer.concat([head, writer.write({ a: 'b' })])))
    }
    near.write(control(6, Buffer.from('00000001', 'hex')))
    while (!Buffer.concat(answers).includes(Buffer.from('800300060000000400000001', 'hex'))) await once(near, 'data')
    assert.equal(streams.length, 3)
    assert.ok(Buffer.concat(answers).includes(Buffer.from('80030003000000080000000700000003', 'hex')))
  })

  const bomb = deflateSync(Buffer.alloc(5 << 20), { dictionary: spdyDictionary, finishFlush: constants.Z_SYNC_FLUSH })
  const breaches = [
    { name: 'another version', bytes: Buffer.from('8002000100000000', 'hex') },
    { name: 'a frame past the limit', bytes: Buffer.from('8003000100ffffff', 'hex') },
    { name: 'a short SYN_STREAM', bytes: control(1, Buffer.alloc(3)) },
    {
      name: 'headers that are no zlib',
      bytes: control(1, Buffer.concat([Buffer.from('00000001000000000000', 'hex'), Buffer.alloc(40, 1)])),
    },
    {
      name: 'headers that unfold without end',
      bytes: control(1, Buffer.concat([Buffer.from('00000001000000000000', 'hex'), bomb])),
    },
    {
      name: 'a stream number of its own side',
      bytes: control(1, Buffer.concat([Buffer.from('00000002000000000000', 'hex'), new SpdyHeaderWriter().write({})])),
    },
    {
      name: 'a stream number of null',
      bytes: control(1, Buffer.concat([Buffer.alloc(10), new SpdyHeaderWriter().write({})])),
    },
  ]
  for (const { name, bytes } of breaches) {
    it(`ends at ${name}`, async () => {
      const { near, session, streams } = openServer()
      near.resume()
      near.write(bytes)
      await session.ended
      assert.equal(streams.length, 0)
    })
  }

  it('survives whatever frames come', async () => {
    let seed = 11
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
      return (seed >> 8) % below
    }
    for (let round = 0; round < 300; round += 1) {
      const { near, session } = openServer()
      near.resume()
      near.on('error', () => {})
      const writer = new SpdyHeaderWriter()
      for (let count = 0; count < 20; count += 1) {
        const payload = Buffer.from(Array.from({ length: random(40) }, () => random(256)))
        if (payload.length >= 4) payload.writeUInt32BE(random(8))
        const isSound = random(3) > 0
        const headers = Buffer.concat([
          Buffer.from([0, 0, 0, 2 * count + 1, 0, 0, 0, 0, 0, 0]),
          writer.write({ n: String(count) }),
        ])
        near.write(isSound ? control(1, headers) : control(random(12), payload, random(4)))
        if (random(4) === 0)
          near.write(Buffer.concat([Buffer.from([0, 0, 0, random(20), random(2), 0, 0, payload.length]), payload]))
      }
      near.end()
      await session.ended
    }
  })
})

describe('SpdyHeaderReader', () => {
  it('reads what the writer writes, block after block', async () => {
    const [reader, writer] = [new SpdyHeaderReader(), new SpdyHeaderWriter()]
    for (const headers of [{ streamtype: 'data', port: '80' }, {}, { port: '8'.repeat(3000) }])
      assert.deepEqual({ ...(await reader.read(writer.write(headers))) }, headers)
  })
})
