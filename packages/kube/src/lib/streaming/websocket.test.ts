import assert from 'node:assert/strict'
import { once } from 'node:events'
import { duplexPair } from 'node:stream'
import { describe, it } from 'node:test'

import { acceptKey, createMessageStream, WebSocket } from './websocket.ts'
import type { WebSocketEnd } from './websocket.ts'

interface Received {
  readonly data: string
  readonly isText: boolean
}

/** A server whose other end takes and gives raw bytes. */
function openServer(maxMessageBytes?: number): {
  send(hex: string): void
  readonly got: Received[]
  readonly answered: () => string
  readonly ended: Promise<WebSocketEnd>
} {
  const [near, far] = duplexPair()
  const got: Received[] = []
  const answers: Buffer[] = []
  near.on('data', (chunk: Buffer) => answers.push(chunk))
  const server = new WebSocket(far, {
    role: 'server',
    maxMessageBytes,
    onMessage: (data, isText) => got.push({ data: data.toString(), isText }),
  })
  return {
    send: (hex) => near.write(Buffer.from(hex.replaceAll(' ', ''), 'hex')),
    got,
    answered: () => Buffer.concat(answers).toString('hex'),
    ended: server.ended,
  }
}

describe('WebSocket', () => {
  it('makes the accept key of RFC 6455, section 1.3', () => {
    assert.equal(acceptKey('dGhlIHNhbXBsZSBub25jZQ=='), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
  })

  it('reads the masked message of RFC 6455, section 5.7, byte by byte', async () => {
    const server = openServer()
    for (const byte of ['81', '85', '37', 'fa', '21', '3d', '7f', '9f', '4d', '51', '58']) server.send(byte)
    server.send('8880 00000000')
    assert.equal((await server.ended).code, 1005)
    assert.deepEqual(server.got, [{ data: 'Hello', isText: true }])
  })

  it('joins the parts of a message and answers a ping between them', async () => {
    const server = openServer()
    server.send('0283 00000000 616263 8901 00000000 78'.replace('8901', '8981'))
    server.send('8082 00000000 6465 8880 00000000')
    await server.ended
    assert.deepEqual(server.got, [{ data: 'abcde', isText: false }])
    assert.match(server.answered(), /^8a0178/)
  })

  const breaches = [
    { name: 'a frame that is not masked', hex: '8101 61', code: 1002 },
    { name: 'reserved bits', hex: 'c180 00000000', code: 1002 },
    { name: 'an unknown opcode', hex: '8380 00000000', code: 1002 },
    { name: 'a long ping', hex: '89fe 0080 00000000', code: 1002 },
    { name: 'a ping in parts', hex: '0980 00000000', code: 1002 },
    { name: 'a continuation of nothing', hex: '8080 00000000', code: 1002 },
    { name: 'a message within a message', hex: '0181 00000000 61 8181 00000000 62', code: 1002 },
    { name: 'a message past the limit, before it has arrived', hex: '82ff 00000000ffffffff 00000000', code: 1009 },
    { name: 'a length past all numbers', hex: '82ff ffffffffffffffff 00000000', code: 1009 },
    {
      name: 'parts that together pass the limit',
      hex: `02bc 00000000 ${'61'.repeat(60)} 80bc 00000000 ${'61'.repeat(60)}`,
      code: 1009,
    },
  ]
  for (const { name, hex, code } of breaches) {
    it(`ends at ${name}`, async () => {
      const server = openServer(100)
      server.send(hex)
      assert.equal((await server.ended).code, code)
      assert.match(server.answered(), new RegExp(`88..${code.toString(16).padStart(4, '0')}`))
    })
  }

  it('survives whatever bytes come', async () => {
    let seed = 7
    const random = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648)
    for (let round = 0; round < 500; round += 1) {
      const server = openServer(4096)
      const bytes = Buffer.from(Array.from({ length: 1 + (random() % 200) }, () => (random() >> 8) & 255))
      // Half of them begin as a frame should.
      if (round % 2 === 0) bytes[0] = 0x82
      if (round % 4 === 0 && bytes.length > 1) bytes[1] = 0x80 | (bytes[1] ?? 0)
      server.send(bytes.toString('hex'))
      server.send('8880 00000000')
      server.send('00'.repeat(5000))
      await server.ended
    }
  })

  it('says when the other side does not read, and when it does again', async () => {
    const [near, far] = duplexPair()
    const client = new WebSocket(near, { role: 'client', onMessage: () => {} })
    let received = 0
    let sent = 0
    while (client.send([Buffer.alloc(65_536)])) sent += 65_536
    assert.ok(sent < 4 << 20)
    const server = new WebSocket(far, { role: 'server', onMessage: (data) => (received += data.length) })
    await client.drained()
    client.close()
    await server.ended
    assert.equal(received, sent + 65_536)
  })

  it('carries a byte stream', async () => {
    const [near, far] = duplexPair()
    const one = createMessageStream(near, { role: 'client' })
    const other = createMessageStream(far, { role: 'server' })
    other.pipe(other)
    const bytes = Buffer.alloc(3_000_000, 'abc')
    one.write(bytes)
    let size = 0
    one.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size === bytes.length) one.end()
    })
    await once(one, 'close')
    assert.equal(size, bytes.length)
  })
})
