import assert from 'node:assert/strict'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { afterEach, before, beforeEach, describe, it } from 'node:test'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import type { Certificate } from '../model.ts'
import { nodeHttp2 } from './http2.ts'
import { createTestAuthority } from './testing-certificates.ts'
import type { TestAuthority } from './testing-certificates.ts'
import { clusterOf, forward, openPlaneBench } from './testing.ts'
import type { PlaneBench } from './testing.ts'

void describe('a listener with TLS', () => {
  let authority: TestAuthority
  let certificates: Certificate[]
  let bench: PlaneBench

  before(async () => {
    authority = await createTestAuthority()
    const names = ['a.example.com', '*.b.example.com']
    certificates = await Promise.all(
      names.map(async (hostname) => ({ hostname, ...(await authority.issue([hostname])) })),
    )
  })
  beforeEach(() => (bench = openPlaneBench()))
  afterEach(() => bench[Symbol.asyncDispose]())

  async function serve(shown = certificates): Promise<number> {
    const endpoint = await bench.serve(({ httpVersion }, response) => response.end(httpVersion))
    return await bench.route([forward('a')], [clusterOf('a', [endpoint])], { kind: 'https', certificates: shown })
  }

  async function greet(port: number, servername: string, more: object = {}): Promise<TLSSocket> {
    const socket = connectTls({ port, host: '127.0.0.1', servername, ca: authority.cert, ...more })
    socket.on('error', () => {})
    await once(socket, 'secureConnect')
    return socket
  }

  it('shows the certificate of the name that is asked for, the first to who asks for another', async () => {
    const port = await serve()
    for (const [asked, shown] of [
      ['a.example.com', 'DNS:a.example.com'],
      ['x.b.example.com', 'DNS:*.b.example.com'],
      ['other.example.com', 'DNS:a.example.com'],
    ] as const) {
      const socket = await greet(port, asked, { rejectUnauthorized: false })
      assert.equal(socket.getPeerCertificate().subjectaltname, shown)
      socket.destroy()
    }
  })

  it('shows new certificates to new connections, and keeps those of before', async () => {
    const port = await serve()
    const socket = await greet(port, 'a.example.com', { ALPNProtocols: ['http/1.1'] })
    const renewed = await authority.issue(['a.example.com', 'new.example.com'])
    assert.equal(await serve([{ hostname: 'a.example.com', ...renewed }]), port)
    const next = await greet(port, 'a.example.com')
    assert.match(next.getPeerCertificate().subjectaltname ?? '', /new\.example\.com/)
    next.destroy()
    socket.write('GET / HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n')
    assert.match(await text(socket), /^HTTP\/1\.1 200/)
  })

  it('speaks HTTP/2 and HTTP/1.1 as clients choose, and nothing else', async () => {
    const port = await serve()
    for (const [offered, chosen] of [
      [['h2', 'http/1.1'], 'h2'],
      [['http/1.1'], 'http/1.1'],
      [undefined, false],
    ] as const) {
      const socket = await greet(port, 'a.example.com', { ALPNProtocols: offered })
      assert.equal(socket.alpnProtocol, chosen)
      socket.destroy()
    }
    const other = connectTls({
      port,
      host: '127.0.0.1',
      servername: 'a.example.com',
      ca: authority.cert,
      ALPNProtocols: ['other'],
    })
    const [error] = await once(other, 'error')
    assert.equal(error.code, 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL')
  })

  it('refuses TLS 1.1', async () => {
    const port = await serve()
    const old = connectTls({
      port,
      host: '127.0.0.1',
      maxVersion: 'TLSv1.1',
      minVersion: 'TLSv1.1',
      rejectUnauthorized: false,
      ciphers: 'DEFAULT@SECLEVEL=0',
    })
    await once(old, 'error')
  })

  it('passes calls of gRPC on to endpoints without TLS', async () => {
    const server = nodeHttp2().createServer()
    server.on('stream', (stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      stream.pipe(stream)
    })
    const cluster = { ...clusterOf('a', [await bench.endpointOf(server)]), protocol: 'h2c' as const }
    const port = await bench.route([forward('a')], [cluster], { kind: 'https', certificates })
    const session = nodeHttp2().connect(`https://127.0.0.1:${port}`, {
      servername: 'a.example.com',
      ca: authority.cert,
    })
    const call = session.request({
      ':method': 'POST',
      ':path': '/shop.Cart/Add',
      'content-type': 'application/grpc',
      te: 'trailers',
    })
    let status: unknown
    call.on('trailers', (trailers) => (status = trailers['grpc-status']))
    call.end('message')
    assert.equal(await text(call), 'message')
    assert.equal(status, '0')
    session.close()
  })

  it('passes WebSockets on', async () => {
    const server = process.getBuiltinModule('node:http').createServer()
    server.on('upgrade', (_, socket) => {
      socket.on('error', () => {})
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
      socket.pipe(socket)
    })
    const endpoint = await bench.endpointOf(server)
    const port = await bench.route([forward('a')], [clusterOf('a', [endpoint])], { kind: 'https', certificates })
    const socket = await greet(port, 'a.example.com', { ALPNProtocols: ['http/1.1'] })
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    const [head] = await once(socket, 'data')
    assert.match(String(head), /^HTTP\/1\.1 101 /)
    socket.write('hello')
    const [echo] = await once(socket, 'data')
    assert.equal(String(echo), 'hello')
    socket.destroy()
  })

  for (const [what, begin] of [
    ['says nothing', undefined],
    ['says no more than hello', ''],
    ['never ends its head', 'GET / HTTP/1.1\r\nhost: a\r\n'],
  ] as const) {
    it(`leaves a client that ${what}`, async () => {
      await bench[Symbol.asyncDispose]()
      // Long enough to shake hands, on a busy machine too.
      bench = openPlaneBench({ headTimeoutMs: 1000 })
      const port = await serve()
      const socket =
        begin === undefined
          ? connect(port, '127.0.0.1')
          : await greet(port, 'a.example.com', { ALPNProtocols: ['http/1.1'] })
      socket.on('error', () => {})
      socket.resume()
      if (begin !== undefined) socket.write(begin)
      await once(socket, 'close', { signal: AbortSignal.timeout(30_000) })
    })
  }

  it('takes as many headers by HTTP/2 as by HTTP/1.1, and refuses a tunnel', async () => {
    const port = await serve()
    const session = nodeHttp2().connect(`https://127.0.0.1:${port}`, {
      servername: 'a.example.com',
      ca: authority.cert,
    })
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`x-${index}`, '1']))
    for (const [headers, status] of [
      [{ ':path': '/', ...many }, 200],
      [{ ':path': '/a#b' }, 400],
      [{ ':method': 'CONNECT', ':authority': 'b:443' }, 405],
    ] as const) {
      const stream = session.request(headers).end()
      const [answer] = await once(stream, 'response')
      assert.equal(answer[':status'], status)
      stream.resume()
    }
    session.destroy()
  })
})
