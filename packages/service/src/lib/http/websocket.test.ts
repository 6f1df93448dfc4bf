import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, it } from 'node:test'
import { WebSocketServer } from 'ws'
import { drain } from '../service/drain.ts'
import { createDrainableServer } from './server.ts'
import type { DrainableServer } from './server.ts'
import { acceptWebSockets } from './websocket.ts'
import type { WebSocketOptions } from './websocket.ts'

async function serve(
  options?: WebSocketOptions,
  http2 = false,
): Promise<{ server: DrainableServer; port: number; url: string } & Disposable> {
  const upgrade = acceptWebSockets(
    new WebSocketServer({ noServer: true }),
    (socket) => void socket.on('message', (data) => socket.send(`echo ${(data as Buffer).toString()}`)),
    options,
  )
  const server = createDrainableServer((_request, response) => response.end('plain'), { upgrade, http2 })
  const port = await server.listen(0, '127.0.0.1')
  return { server, port, url: `ws://127.0.0.1:${port}/`, [Symbol.dispose]: () => server.closeAll() }
}

/** The status line and body of the answer to an upgrade. */
async function knock(port: number, path: string, headers: readonly string[] = []): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let received = ''
  socket.on('data', (chunk) => {
    received += String(chunk)
    if (received.startsWith('HTTP/1.1 101')) socket.destroy()
  })
  const key = [
    'connection: upgrade',
    'upgrade: websocket',
    'sec-websocket-version: 13',
    `sec-websocket-key: ${'A'.repeat(22)}==`,
  ]
  socket.write([`GET ${path} HTTP/1.1`, 'host: shop.example', ...key, ...headers, '', ''].join('\r\n'))
  await once(socket, 'close')
  return received
}

describe('acceptWebSockets', { timeout: 300_000 }, () => {
  for (const http2 of [false, true]) {
    it(`carries messages both ways${http2 ? ' beside HTTP/2' : ''}, and closes with 1012 when the service stops`, async () => {
      using host = await serve({}, http2)
      const socket = new WebSocket(host.url)
      await once(socket, 'open')
      socket.send('a')
      const [message] = (await once(socket, 'message')) as [MessageEvent]
      assert.equal(message.data, 'echo a')
      const closed = once(socket, 'close') as Promise<[CloseEvent]>
      const { wasCut } = await drain(host.server, { delayMs: 0, timeoutMs: 5000, idleGraceMs: 10, goodbyeSpreadMs: 20 })
      const [{ code, wasClean, reason }] = await closed
      assert.deepEqual(
        { wasCut, code, wasClean, reason },
        { wasCut: false, code: 1012, wasClean: true, reason: 'The service restarts' },
      )
    })
  }

  it('waits for a peer that has not answered the goodbye, and cuts it at the deadline', async () => {
    using host = await serve({ closeCode: 1001 })
    const socket = connect(host.port, '127.0.0.1')
    const head = once(socket, 'data')
    socket.write(
      `GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${'A'.repeat(22)}==\r\n\r\n`,
    )
    await head
    const goodbye = once(socket, 'data')
    const ended = once(socket, 'close')
    const { wasCut } = await drain(host.server, { delayMs: 0, timeoutMs: 200, idleGraceMs: 10 })
    const [frame] = (await goodbye) as [Buffer]
    assert.equal(frame.readUInt16BE(2), 1001)
    assert.equal(wasCut, true)
    await ended
  })

  for (const { name, options, path = '/', headers, status } of [
    { name: 'on another path', options: { path: '/live' }, path: '/other', status: 404 },
    { name: 'on its path', options: { path: '/live' }, path: '/live?a=1', status: 101 },
    { name: 'from a foreign page', options: {}, headers: ['origin: https://evil.example'], status: 403 },
    { name: 'from a page of its own', options: {}, headers: ['origin: https://shop.example'], status: 101 },
    { name: 'from an origin without a host', options: {}, headers: ['origin: null'], status: 403 },
    {
      name: 'from a listed origin',
      options: { origins: ['https://a.example'] },
      headers: ['origin: https://a.example'],
      status: 101,
    },
    {
      name: 'from anywhere',
      options: { origins: '*' as const },
      headers: ['origin: https://evil.example'],
      status: 101,
    },
    { name: 'whom it does not authorize', options: { authorize: () => Promise.resolve(false) }, status: 403 },
  ] satisfies { name: string; options: WebSocketOptions; path?: string; headers?: string[]; status: number }[]) {
    it(`answers ${status} to one ${name}`, async () => {
      using host = await serve(options)
      const text = await knock(host.port, path, headers)
      assert.equal(Number(text.slice(9, 12)), status)
      if (status !== 101) assert.match(text, /application\/problem\+json/)
    })
  }

  it('cuts a peer that answers no ping', async () => {
    using host = await serve({ heartbeatMs: 20 })
    const socket = connect(host.port, '127.0.0.1')
    socket.write(
      `GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${'A'.repeat(22)}==\r\n\r\n`,
    )
    await once(socket.resume(), 'close')
  })

  it('keeps a peer that answers', async () => {
    // So long that an answer comes in between, on a busy machine too.
    using host = await serve({ heartbeatMs: 500 })
    const socket = new WebSocket(host.url)
    await once(socket, 'open')
    for (let round = 0; round < 3; round += 1) {
      const answered = once(socket, 'message')
      setTimeout(() => socket.send('a'), 600)
      await answered
    }
    socket.close()
  })
})
