import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, createServer, request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect as connectHttp2, constants, createServer as createHttp2Server } from 'node:http2'
import { connect, createServer as createTcpServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { Cluster, Endpoint, Rule } from '../model.ts'
import { ask, clusterOf, forward, listenerOf, openPlaneBench, policy } from './testing.ts'
import type { PlaneBench } from './testing.ts'

void describe('openDataPlane', () => {
  let bench: PlaneBench
  const serve: PlaneBench['serve'] = (handler) => bench.serve(handler)
  const endpointOf: PlaneBench['endpointOf'] = (server) => bench.endpointOf(server)
  const route: PlaneBench['route'] = (rules, clusters, more) => bench.route(rules, clusters, more)

  beforeEach(() => (bench = openPlaneBench()))
  afterEach(() => bench[Symbol.asyncDispose]())

  it('passes a request on with where it came from, and without what is of its connection', async () => {
    const endpoint = await serve((incoming, response) => response.end(JSON.stringify(incoming.headers)))
    const port = await route([forward('a')], [clusterOf('a', [endpoint])])
    const headers = {
      host: 'shop.example.com',
      connection: 'keep-alive, x-own',
      'x-own': '1',
      'x-forwarded-for': '10.0.0.9',
      'x-forwarded-proto': 'https',
    }
    const { body } = await ask({ port, headers })
    const seen: Record<string, string> = JSON.parse(body)
    assert.equal(seen['host'], 'shop.example.com')
    assert.equal(seen['x-forwarded-for'], '10.0.0.9, 127.0.0.1')
    assert.equal(seen['x-forwarded-proto'], 'http')
    assert.equal(seen['x-own'], undefined)
    assert.match(seen['x-request-id'] ?? '', /^[0-9a-f-]{36}$/)
  })

  it('streams bodies both ways as they come', async () => {
    const endpoint = await serve((incoming, response) => void incoming.pipe(response))
    const port = await route([forward('a')], [clusterOf('a', [endpoint])])
    const sent = request({ host: '127.0.0.1', port, method: 'POST' })
    sent.write('first')
    const [response]: IncomingMessage[] = await once(sent, 'response')
    const [first] = await once(response as IncomingMessage, 'data')
    assert.equal(String(first), 'first')
    sent.end('second')
    assert.equal(await text(response as IncomingMessage), 'second')
  })

  it('holds a sender back when the receiver is slow', async () => {
    let sentBytes = 0
    const endpoint = await serve((_, response) => {
      const more = (): void => {
        while (sentBytes < 64 << 20) {
          sentBytes += 1 << 16
          if (!response.write(Buffer.alloc(1 << 16))) return void response.once('drain', more)
        }
        response.end()
      }
      more()
    })
    const port = await route([forward('a')], [clusterOf('a', [endpoint])])
    const sent = request({ host: '127.0.0.1', port }).end()
    const [response]: IncomingMessage[] = await once(sent, 'response')
    response?.pause()
    // Nothing moves any more: buffers of kernel and streams are full.
    let before = -1
    while (before !== sentBytes) {
      before = sentBytes
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    assert.ok(sentBytes < 48 << 20, `${sentBytes} bytes went nowhere`)
    let received = 0
    for await (const chunk of response ?? []) received += (chunk as Buffer).length
    assert.equal(received, 64 << 20)
  })

  it('answers 404, 500 and 503 where there is no rule, no backend and no endpoint', async () => {
    const port = await route(
      [forward('empty', { path: '/empty' }), forward(undefined, { path: '/none' })],
      [clusterOf('empty', [])],
    )
    const statuses = await Promise.all(
      ['/other', '/none', '/empty'].map(async (path) => (await ask({ port, path })).status),
    )
    assert.deepEqual(statuses, [404, 500, 503])
  })

  it('gives a request that no endpoint has seen to another endpoint', async () => {
    const alive = await serve((_, response) => response.end('alive'))
    const dead = await endpointOf(createTcpServer((socket) => socket.resetAndDestroy()))
    bench.silence(dead)
    const port = await route([forward('a')], [clusterOf('a', [dead, alive])])
    for (let index = 0; index < 20; index++)
      assert.equal((await ask({ port, method: 'POST', body: 'x' })).body, 'alive')
  })

  it('does not send a POST twice that an endpoint may have seen, unless told to', async () => {
    let seen = 0
    const endpoint = await serve((incoming) => {
      seen++
      incoming.socket.destroy()
    })
    const port = await route([forward('a')], [clusterOf('a', [endpoint])])
    assert.equal((await ask({ port, method: 'POST', body: 'x' })).status, 502)
    assert.equal(seen, 1)
    const retry = { attempts: 2, on: ['reset' as const], statuses: [], backoffMs: 0 }
    await route([{ ...forward('a'), retry }], [clusterOf('a', [endpoint])])
    assert.equal((await ask({ port, method: 'POST', body: 'x' })).status, 502)
    assert.equal(seen, 4)
  })

  it('tries again what is answered by a status that the route names', async () => {
    let turn = 0
    const endpoint = await serve((_, response) => response.writeHead(turn++ < 2 ? 503 : 200).end('done'))
    const retry = { attempts: 2, on: [], statuses: [503], backoffMs: 1 }
    const port = await route([{ ...forward('a'), retry }], [clusterOf('a', [endpoint])])
    assert.equal((await ask({ port })).body, 'done')
    assert.equal(turn, 3)
  })

  it('ends what takes too long with 504', async () => {
    const endpoint = await serve(() => {})
    const port = await route([{ ...forward('a'), timeoutMs: 50 }], [clusterOf('a', [endpoint])])
    assert.equal((await ask({ port })).status, 504)
  })

  it('injects faults, redirects and answers by itself', async () => {
    const aborted: Rule = { ...forward(undefined, { path: '/abort' }), fault: { abort: { status: 418, percent: 100 } } }
    const redirected: Rule = {
      route: 'r',
      matches: [{ path: { kind: 'segments', value: '/old' } }],
      action: { kind: 'redirect', redirect: { status: 301, scheme: 'https', path: { kind: 'prefix', value: '/new' } } },
    }
    const port = await route([aborted, redirected], [])
    assert.equal((await ask({ port, path: '/abort' })).status, 418)
    const moved = await ask({ port, path: '/old/a?b=c', headers: { host: 'shop.example.com' } })
    assert.deepEqual([moved.status, moved.headers.location], [301, 'https://shop.example.com/new/a?b=c'])
  })

  it('sends copies to mirrors, whose answers nobody sees', async () => {
    const copies = Promise.withResolvers<string>()
    const endpoint = await serve((_, response) => response.end('real'))
    const shadow = await serve((incoming, response) => {
      void text(incoming).then((body) => copies.resolve(`${incoming.headers.host} ${body}`))
      response.writeHead(500).end()
    })
    const rule = { ...forward('a'), mirrors: [{ cluster: 'b', percent: 100 }] }
    const port = await route([rule], [clusterOf('a', [endpoint]), clusterOf('b', [shadow])])
    const { status, body } = await ask({ port, method: 'POST', body: 'order', headers: { host: 'shop' } })
    assert.deepEqual([status, body], [200, 'real'])
    assert.equal(await copies.promise, 'shop-shadow order')
  })

  it('refuses more requests than a cluster may have', async () => {
    const held: { end(text: string): unknown }[] = []
    const endpoint = await serve((_, response) => void held.push(response))
    const limited = { ...clusterOf('a', [endpoint]), policy: { ...policy, maxRequests: 1 } }
    const port = await route([forward('a')], [limited])
    const first = ask({ port })
    while (held.length === 0) await new Promise((resolve) => setImmediate(resolve))
    const second = await ask({ port })
    assert.deepEqual([second.status, second.headers['x-envoy-overloaded']], [503, 'true'])
    held[0]?.end('late')
    assert.equal((await first).body, 'late')
  })

  it('passes WebSockets on, bytes of both sides', async () => {
    const server = createServer()
    server.on('upgrade', (incoming, socket) => {
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ${incoming.headers.upgrade}\r\n\r\n`,
      )
      socket.on('error', () => {})
      socket.pipe(socket)
    })
    const port = await route([forward('a')], [clusterOf('a', [await endpointOf(server)])])
    const sent = request({ host: '127.0.0.1', port, headers: { connection: 'Upgrade', upgrade: 'websocket' } }).end()
    const [response, socket] = await once(sent, 'upgrade')
    assert.equal(response.headers.upgrade, 'websocket')
    socket.write('hello')
    const [echo] = await once(socket, 'data')
    assert.equal(String(echo), 'hello')
    socket.destroy()
  })

  it('passes gRPC on, with its trailers, and answers itself by a status of gRPC', async () => {
    const server = createHttp2Server()
    server.on('stream', (stream) => {
      stream.resume()
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '7' }))
      stream.end('message')
    })
    const cluster: Cluster = { ...clusterOf('a', [await endpointOf(server)]), protocol: 'h2c' }
    const port = await route([forward('a', { path: '/shop.Cart/Add' })], [cluster])
    const session = connectHttp2(`http://127.0.0.1:${port}`)
    const call = async (path: string): Promise<{ body: string; status: unknown }> => {
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
      })
      let status: unknown
      stream.on('response', (headers) => (status = headers['grpc-status']))
      stream.on('trailers', (trailers) => (status = trailers['grpc-status']))
      stream.end('request')
      return { body: await text(stream), status }
    }
    assert.deepEqual(await call('/shop.Cart/Add'), { body: 'message', status: '7' })
    assert.deepEqual(await call('/shop.Cart/Other'), { body: '', status: '12' })
    session.close()
  })

  it('ends the stream with a head that is a status of gRPC: without that, clients of grpc-go take it for none', async () => {
    const server = createHttp2Server()
    server.on('stream', (stream) => {
      stream.resume()
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5' }, { endStream: true })
    })
    const cluster: Cluster = { ...clusterOf('a', [await endpointOf(server)]), protocol: 'h2c' }
    const port = await route([forward('a', { path: '/shop.Cart/Add' })], [cluster])
    const session = connectHttp2(`http://127.0.0.1:${port}`)
    for (const { path, status } of [
      { path: '/shop.Cart/Add', status: '5' },
      { path: '/shop.Cart/Other', status: '12' },
    ]) {
      const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' }).end()
      const [headers, flags] = (await once(stream, 'response')) as [Record<string, string>, number]
      assert.equal(headers['grpc-status'], status)
      assert.equal(flags & constants.NGHTTP2_FLAG_END_STREAM, constants.NGHTTP2_FLAG_END_STREAM)
      stream.resume()
      await once(stream, 'close')
    }
    session.close()
  })

  it('passes connections of other protocols through on ports for pods', async () => {
    const echo = createTcpServer((socket) => void socket.on('error', () => {}).pipe(socket))
    const port = await route([], [clusterOf('a', [await endpointOf(echo)])], { kind: 'mesh', passthrough: 'a' })
    const socket = connect(port, '127.0.0.1')
    socket.write('\0binary')
    const [data] = await once(socket, 'data')
    assert.equal(String(data), '\0binary')
    socket.destroy()
  })

  it('splits by weight, closely', async () => {
    const endpoints = await Promise.all(['v1', 'v2'].map((name) => serve((_, response) => response.end(name))))
    const clusters = endpoints.map((endpoint, index) => clusterOf(`v${index + 1}`, [endpoint]))
    const targets = [
      { weight: 90, cluster: 'v1' },
      { weight: 10, cluster: 'v2' },
    ]
    const port = await route([{ route: 'r', matches: [], action: { kind: 'forward', targets } }], clusters)
    const agent = new Agent({ keepAlive: true, maxSockets: 8 })
    const answers = await Promise.all(Array.from({ length: 1000 }, () => ask({ port, agent })))
    agent.destroy()
    const second = answers.filter(({ body }) => body === 'v2').length
    assert.ok(Math.abs(second - 100) <= 3, `v2 had ${second} of 1000`)
    const counted = /istio_requests_total\{[^}]*destination_service_name="v2"[^}]*\} (\d+)/.exec(
      bench.plane.metrics.render(),
    )
    assert.equal(Number(counted?.[1]), second)
  })

  it('fails no request while rules and endpoints change under load', async () => {
    const endpoints = await Promise.all(
      Array.from({ length: 4 }, () =>
        serve((incoming, response) => {
          incoming.resume()
          incoming.on('end', () => setTimeout(() => response.end('done'), 2))
        }),
      ),
    )
    const some = (change: number): Endpoint[] => endpoints.filter((_, index) => index !== change % 4)
    const port = await route([forward('a')], [clusterOf('a', some(0))])
    const agent = new Agent({ keepAlive: true, maxSockets: 16 })
    const statuses = new Set<number | undefined>()
    const load = { isOver: false, answered: 0 }
    const clients = Array.from({ length: 16 }, async () => {
      while (!load.isOver) {
        statuses.add((await ask({ port, agent, method: 'POST', body: 'order' })).status)
        load.answered++
      }
    })
    for (let change = 1; change <= 50; change++) {
      const goal = load.answered + 16
      while (load.answered < goal) await new Promise((resolve) => setImmediate(resolve))
      await route([forward('a')], [clusterOf('a', some(change))])
    }
    load.isOver = true
    await Promise.all(clients)
    agent.destroy()
    assert.deepEqual([...statuses], [200])
    assert.ok(load.answered >= 800)
  })

  it('says which port it cannot have', async () => {
    const { port } = await serve(() => {})
    const listener = listenerOf('taken', { port })
    await bench.plane.apply({ listeners: new Map([['taken', listener]]), clusters: new Map() })
    const outcome = bench.plane.outcomes.get('taken')
    assert.ok(
      outcome !== undefined &&
        'problem' in outcome &&
        outcome.problem.includes(`127.0.0.1:${port}: another program uses the port`),
    )
    await bench.plane.apply({ listeners: new Map([['taken', { ...listener, isFlexible: true }]]), clusters: new Map() })
    assert.ok('port' in (bench.plane.outcomes.get('taken') ?? {}))
  })
})
