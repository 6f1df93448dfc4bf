import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createSecureServer } from 'node:https'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, before, beforeEach, describe, it } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import type { Cluster, UpstreamTls } from '../model.ts'
import { nodeHttp2 } from './http2.ts'
import { createTestAuthority } from './testing-certificates.ts'
import type { TestAuthority } from './testing-certificates.ts'
import { ask, clusterOf, forward, openPlaneBench } from './testing.ts'
import type { PlaneBench } from './testing.ts'

void describe('endpoints with TLS', () => {
  let authority: TestAuthority
  let other: TestAuthority
  let pair: { readonly cert: string; readonly key: string }
  let bench: PlaneBench

  before(async () => {
    ;[authority, other] = await Promise.all([createTestAuthority(), createTestAuthority()])
    pair = await authority.issue(['web.example.com', 'spiffe://cluster.local/ns/shop/sa/web'])
  })
  beforeEach(() => (bench = openPlaneBench()))
  afterEach(() => bench[Symbol.asyncDispose]())

  const tlsOf = (more: Partial<UpstreamTls> = {}): UpstreamTls => {
    const tls = { serverName: 'web.example.com', names: [], isVerified: true, ca: authority.cert, ...more }
    return { key: JSON.stringify(tls), ...tls }
  }

  /** Answers with the name it was asked for, and who asked. */
  async function serve(more: object = {}): Promise<Cluster> {
    const server = createSecureServer({ ...pair, ...more }, ({ socket, headers }, response) => {
      const { servername } = socket as TLSSocket & { servername: string }
      response.end([servername, headers.host, (socket as TLSSocket).authorized].join(' '))
    })
    return clusterOf('a', [await bench.endpointOf(server)])
  }

  it('are asked for the name they have to have, whatever the request is for', async () => {
    const cluster = await serve()
    const port = await bench.route([forward('a')], [{ ...cluster, tls: tlsOf() }])
    for (const host of ['shop.example.com', 'other.example.com']) {
      assert.equal((await ask({ port, headers: { host } })).body, `web.example.com ${host} false`)
    }
  })

  const cases: readonly { readonly name: string; readonly tls: () => Partial<UpstreamTls>; readonly status: number }[] =
    [
      { name: 'another name', tls: () => ({ serverName: 'else.example.com' }), status: 503 },
      { name: 'another authority', tls: () => ({ ca: other.cert }), status: 503 },
      { name: 'no authority, of which Node knows none', tls: () => ({ ca: undefined }), status: 503 },
      {
        name: 'another name and no wish to look',
        tls: () => ({ serverName: 'else.example.com', isVerified: false }),
        status: 200,
      },
      {
        name: 'one of several names',
        tls: () => ({
          serverName: 'else.example.com',
          names: [
            { kind: 'dns', value: 'no.example.com' },
            { kind: 'dns', value: 'web.example.com' },
          ],
        }),
        status: 200,
      },
      {
        name: 'none of several names',
        tls: () => ({ names: [{ kind: 'dns', value: 'no.example.com' }] }),
        status: 503,
      },
      {
        name: 'an identity',
        tls: () => ({ names: [{ kind: 'uri', value: 'spiffe://cluster.local/ns/shop/sa/web' }] }),
        status: 200,
      },
      {
        name: 'the beginning of an identity',
        tls: () => ({ names: [{ kind: 'uri', value: 'spiffe://cluster.local/ns/shop' }] }),
        status: 503,
      },
    ]
  for (const { name, tls, status } of cases) {
    it(`answer ${status} where ${name} is asked for`, async () => {
      const cluster = await serve()
      const port = await bench.route([forward('a')], [{ ...cluster, tls: tlsOf(tls()) }])
      assert.equal((await ask({ port })).status, status)
    })
  }

  it('are asked anew when what they have to show changes', async () => {
    const cluster = await serve()
    const port = await bench.route([forward('a')], [{ ...cluster, tls: tlsOf() }])
    assert.equal((await ask({ port })).status, 200)
    await bench.route([forward('a')], [{ ...cluster, tls: tlsOf({ ca: other.cert }) }])
    assert.equal((await ask({ port })).status, 503)
    await bench.route([forward('a')], [{ ...cluster, tls: tlsOf() }])
    assert.equal((await ask({ port })).status, 200)
  })

  it('are shown who asks', async () => {
    const own = await authority.issue(['gateway.example.com'])
    const cluster = await serve({ ca: authority.cert, requestCert: true, rejectUnauthorized: true })
    const port = await bench.route([forward('a')], [{ ...cluster, tls: tlsOf({ cert: own.cert, clientKey: own.key }) }])
    assert.match((await ask({ port })).body, / true$/)
    await bench.route([forward('a')], [{ ...cluster, tls: tlsOf() }])
    assert.equal(Math.floor(((await ask({ port })).status ?? 0) / 100), 5)
  })

  it('are asked by HTTP/2, as gRPC is', async () => {
    const server = nodeHttp2().createSecureServer(pair)
    server.on('stream', (stream, { ':scheme': scheme }) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'x-scheme': scheme }))
      stream.end('message')
    })
    const cluster: Cluster = { ...clusterOf('a', [await bench.endpointOf(server)]), protocol: 'h2c', tls: tlsOf() }
    const port = await bench.route([forward('a')], [cluster])
    const session = nodeHttp2().connect(`http://127.0.0.1:${port}`)
    const stream = session.request({ ':path': '/' })
    let scheme: unknown
    stream.on('trailers', (trailers) => (scheme = trailers['x-scheme']))
    assert.equal(await text(stream), 'message')
    assert.equal(scheme, 'https')
    session.destroy()
    await bench.route([forward('a')], [{ ...cluster, tls: tlsOf({ ca: other.cert }) }])
    assert.equal((await ask({ port })).status, 503)
  })

  it('are passed WebSockets', async () => {
    const server = createSecureServer(pair)
    server.on('upgrade', (_, socket) => {
      socket.on('error', () => {})
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
      socket.pipe(socket)
    })
    const cluster = clusterOf('a', [await bench.endpointOf(server)])
    const port = await bench.route([forward('a')], [{ ...cluster, tls: tlsOf() }])
    const head = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
    const socket = connect(port, '127.0.0.1')
    socket.write(head)
    assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 101 /)
    socket.write('hello')
    assert.equal(String((await once(socket, 'data'))[0]), 'hello')
    socket.destroy()
    await bench.route([forward('a')], [{ ...cluster, tls: tlsOf({ ca: other.cert }) }])
    const refused = connect(port, '127.0.0.1')
    refused.write(head)
    assert.match(await text(refused), /^HTTP\/1\.1 502 /)
  })

  it('are passed connections of other protocols', async () => {
    const server = createTlsServer(pair, (socket) => void socket.on('error', () => {}).pipe(socket))
    const cluster = { ...clusterOf('a', [await bench.endpointOf(server)]), tls: tlsOf() }
    const port = await bench.route([], [cluster], { kind: 'mesh', passthrough: 'a' })
    const socket = connect(port, '127.0.0.1')
    socket.write('\0binary')
    assert.equal(String((await once(socket, 'data'))[0]), '\0binary')
    socket.destroy()
  })
})
