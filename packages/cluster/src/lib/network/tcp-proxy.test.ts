import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import type { Backend } from './service-ports.ts'
import { openTcpProxy } from './tcp-proxy.ts'

async function listen(
  handler: (socket: Socket) => void,
): Promise<{ server: Server; backend: Backend } & AsyncDisposable> {
  const server = createServer({ allowHalfOpen: true }, handler).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    server,
    backend: { ip: '127.0.0.1', port },
    async [Symbol.asyncDispose]() {
      if (server.listening) server.close()
    },
  }
}

async function openProxy(
  backends: () => readonly Backend[],
  affinitySeconds?: () => number | undefined,
): Promise<{ dial(): Socket } & AsyncDisposable> {
  const proxy = await openTcpProxy({ host: '127.0.0.1', port: 0, backends, affinitySeconds, connectTimeoutMs: 30_000 })
  return {
    dial: () => connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true }),
    [Symbol.asyncDispose]: () => proxy.close(),
  }
}

const greet =
  (name: string) =>
  (socket: Socket): void =>
    void socket.on('error', () => {}).end(name)

void describe('openTcpProxy', () => {
  void it('takes the endpoints in turn', async () => {
    await using a = await listen(greet('a'))
    await using b = await listen(greet('b'))
    await using proxy = await openProxy(() => [a.backend, b.backend])
    const names: string[] = []
    for (let i = 0; i < 4; i++) names.push(await text(proxy.dial().end()))
    assert.deepEqual(names, ['a', 'b', 'a', 'b'])
  })

  void it('keeps a client at its endpoint with session affinity, until that is gone', async () => {
    await using a = await listen(greet('a'))
    await using b = await listen(greet('b'))
    let backends = [a.backend, b.backend]
    await using proxy = await openProxy(
      () => backends,
      () => 60,
    )
    const ask = async (): Promise<string> => await text(proxy.dial().end())
    assert.deepEqual([await ask(), await ask(), await ask()], ['a', 'a', 'a'])
    backends = [b.backend]
    assert.equal(await ask(), 'b')
    backends = [a.backend, b.backend]
    assert.deepEqual([await ask(), await ask()], ['b', 'b'])
  })

  void it('goes to another endpoint when one refuses', async () => {
    await using a = await listen(greet('a'))
    const b = await listen(greet('b'))
    b.server.close()
    await using proxy = await openProxy(() => [b.backend, a.backend])
    assert.equal(await text(proxy.dial().end()), 'a')
    assert.equal(await text(proxy.dial().end()), 'a')
  })

  void it('resets when there is no endpoint', async () => {
    await using proxy = await openProxy(() => [])
    await assert.rejects(once(proxy.dial(), 'end'), { code: 'ECONNRESET' })
  })

  void it('passes the end of one direction on and keeps the other', async () => {
    await using echo = await listen(async (socket) => socket.end(`got ${await text(socket)}`))
    await using proxy = await openProxy(() => [echo.backend])
    const socket = proxy.dial()
    socket.end('all')
    assert.equal(await text(socket), 'got all')
  })

  void it('passes a reset on', async () => {
    await using rude = await listen((socket) => socket.once('data', () => socket.resetAndDestroy()))
    await using proxy = await openProxy(() => [rude.backend])
    const socket = proxy.dial()
    socket.write('x')
    await assert.rejects(once(socket, 'end'), { code: 'ECONNRESET' })
  })

  void it('carries more than fits into any buffer', async () => {
    const size = 32 << 20
    await using source = await listen((socket) => void socket.end(Buffer.alloc(size, 1)))
    await using proxy = await openProxy(() => [source.backend])
    let received = 0
    for await (const { length } of proxy.dial().end()) received += Number(length)
    assert.equal(received, size)
  })

  void it('keeps a connection when its endpoint leaves the list', async () => {
    await using echo = await listen((socket) => void socket.on('error', () => {}).pipe(socket))
    let backends: Backend[] = [echo.backend]
    await using proxy = await openProxy(() => backends)
    const socket = proxy.dial()
    socket.write('one')
    assert.equal(String((await once(socket, 'data'))[0]), 'one')
    backends = []
    socket.write('two')
    assert.equal(String((await once(socket, 'data'))[0]), 'two')
    socket.destroy()
  })

  void it('says that its port is taken', async () => {
    await using other = await listen(() => {})
    const { port } = other.backend
    await assert.rejects(openTcpProxy({ host: '127.0.0.1', port, backends: () => [] }), { code: 'EADDRINUSE' })
  })
})
