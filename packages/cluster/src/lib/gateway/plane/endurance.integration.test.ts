import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { ClientHttp2Session } from 'node:http2'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Cluster, Endpoint, Rule } from '../model.ts'
import { nodeHttp2 } from './http2.ts'
import { ask, clusterOf, forward, listenerOf, openPlaneBench } from './testing.ts'
import type { PlaneBench } from './testing.ts'

const { Agent, request } = process.getBuiltinModule('node:http')
const http2 = nodeHttp2()
const megabyte = Buffer.alloc(1 << 20, 'x')
const patience = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(60_000) })

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Buffers that somebody still has; how much garbage there is beside them is chance. */
function heldBytes(): number {
  collectGarbage()
  return process.memoryUsage().arrayBuffers
}

/** Sends back what it gets, by either version of HTTP. */
async function serveEcho(bench: PlaneBench, protocol: Cluster['protocol']): Promise<Cluster> {
  const endpoint: Endpoint =
    protocol === 'http1'
      ? await bench.serve((incoming, response) => void incoming.pipe(response))
      : await bench.endpointOf(http2.createServer((incoming, response) => void incoming.stream.pipe(response.stream)))
  return { ...clusterOf('a', [endpoint]), protocol }
}

const clients = {
  async http1(port: number, megabytes: number, look?: () => void) {
    const sent = request({ host: '127.0.0.1', port, method: 'POST', agent: false })
    const answered = once(sent, 'response', patience())
    void pour(sent, megabytes)
    const [response]: [IncomingMessage] = (await answered) as [IncomingMessage]
    return await measure(response, look)
  },
  async http2(port: number, megabytes: number, look?: () => void) {
    const session = http2.connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 1 << 20 } })
    const stream = session.request({ ':method': 'POST', ':path': '/' })
    void pour(stream, megabytes)
    const size = await measure(stream, look)
    session.destroy()
    return size
  },
}

async function pour(sink: NodeJS.WritableStream, megabytes: number): Promise<void> {
  for (let index = 0; index < megabytes; index++) if (!sink.write(megabyte)) await once(sink, 'drain', patience())
  sink.end()
}

/** Looks every 5 MB, not every few milliseconds: where a look takes long, nothing else would get on. */
async function measure(source: AsyncIterable<Buffer>, look?: () => void): Promise<number> {
  let size = 0
  for await (const chunk of source) {
    const before = size
    size += chunk.length
    if (Math.floor(before / (5 << 20)) < Math.floor(size / (5 << 20))) look?.()
  }
  return size
}

void describe('a data plane over time', () => {
  for (const from of ['http1', 'http2'] as const) {
    for (const to of ['http1', 'h2c'] as const) {
      it(`streams 100 MB up and down at once, ${from} to ${to}, without keeping them`, async () => {
        await using bench = openPlaneBench()
        const port = await bench.route([forward('a')], [await serveEcho(bench, to)])
        await clients[from](port, 1)
        const before = heldBytes()
        let most = 0
        const look = (): void => void (most = Math.max(most, heldBytes() - before))
        assert.equal(await clients[from](port, 100, look), 100 << 20)
        // Client and endpoint are in this process too.
        assert.ok(most < 32 << 20, `${most >> 20} MB were held`)
      })
    }
  }

  it('holds an upload back when the endpoint does not read, and lets it go on', async () => {
    await using bench = openPlaneBench()
    const begun = Promise.withResolvers<IncomingMessage>()
    const endpoint = await bench.serve((incoming, response) => {
      begun.resolve(incoming)
      incoming.on('end', () => response.end('done'))
    })
    const port = await bench.route([forward('a')], [clusterOf('a', [endpoint])])
    const sent = request({ host: '127.0.0.1', port, method: 'POST', agent: false })
    const answered = once(sent, 'response', patience())
    let written = 0
    void (async () => {
      for (; written < 64; written++) if (!sent.write(megabyte)) await once(sent, 'drain', patience())
      sent.end()
    })()
    const incoming = await begun.promise
    for (let before = -1; before !== written;) {
      before = written
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    assert.ok(written < 32, `${written} MB went nowhere`)
    incoming.resume()
    const [response] = await answered
    assert.equal(await text(response), 'done')
  })

  it('cuts an answer whose endpoint dies in the middle, so that nobody takes it for whole', async () => {
    await using bench = openPlaneBench()
    const endpoint = await bench.serve(({ socket }, response) => {
      response.write('half')
      setTimeout(() => socket.resetAndDestroy(), 20)
    })
    const port = await bench.route([forward('a')], [clusterOf('a', [endpoint])])
    await assert.rejects(ask({ port }), { code: 'ECONNRESET' })
    const session = http2.connect(`http://127.0.0.1:${port}`)
    const stream = session.request({ ':path': '/' })
    stream.resume()
    await assert.rejects(once(stream, 'end'), { code: 'ERR_HTTP2_STREAM_ERROR' })
    session.destroy()
  })

  it('answers 502 for an upload whose endpoint dies in the middle, once', async () => {
    await using bench = openPlaneBench()
    let seen = 0
    const endpoint = await bench.serve((incoming) => {
      seen++
      incoming.once('data', () => incoming.socket.resetAndDestroy())
    })
    const port = await bench.route([forward('a')], [clusterOf('a', [endpoint])])
    for (const method of ['POST', 'PUT']) {
      const sent = request({ host: '127.0.0.1', port, method, agent: false })
      sent.on('error', () => {})
      sent.write(megabyte)
      const [response] = await once(sent, 'response', patience())
      assert.equal(response.statusCode, 502)
      sent.destroy()
    }
    assert.equal(seen, 2)
  })

  for (const [what, length] of [
    ['a short body', 100],
    ['a long body', 1 << 20],
    ['a body of unknown length', undefined],
  ] as const) {
    it(`answers 408 to ${what} that does not go on`, async () => {
      await using bench = openPlaneBench({ idleTimeoutMs: 200 })
      const endpoint = await bench.serve((incoming) => void incoming.resume())
      const port = await bench.route([forward('a')], [clusterOf('a', [endpoint])])
      const headers = length === undefined ? {} : { 'content-length': length }
      const sent = request({ host: '127.0.0.1', port, method: 'POST', headers, agent: false })
      sent.on('error', () => {})
      sent.write('begun')
      const [response] = await once(sent, 'response', patience())
      assert.equal(response.statusCode, 408)
      sent.destroy()
    })
  }

  it('waits for clients that are silent while they are answered, and for those of gRPC', async () => {
    await using bench = openPlaneBench({ idleTimeoutMs: 500 })
    const server = http2.createServer()
    server.on('stream', (stream, { 'content-type': type }) => {
      if (type === undefined) stream.respond({ ':status': 200 })
      stream.once('data', () => {
        stream.once('data', () => {
          if (type !== undefined) stream.respond({ ':status': 200 })
          stream.end('both')
        })
      })
    })
    const cluster: Cluster = { ...clusterOf('a', [await bench.endpointOf(server)]), protocol: 'h2c' }
    const port = await bench.route([forward('a')], [cluster])
    for (const type of [{}, { 'content-type': 'application/grpc' }]) {
      const session = http2.connect(`http://127.0.0.1:${port}`)
      const stream = session.request({ ':method': 'POST', ':path': '/', ...type })
      stream.write('first')
      await new Promise((resolve) => setTimeout(resolve, 1_500))
      stream.write('second')
      assert.equal(await text(stream), 'both')
      session.destroy()
    }
  })

  it('lets go of a client that takes nothing of its answer, and of the endpoint that sends it', async () => {
    await using bench = openPlaneBench({ idleTimeoutMs: 200 })
    const left = Promise.withResolvers<void>()
    const endpoint = await bench.serve((_, response) => {
      response.on('close', () => left.resolve())
      void pour(response, 256).catch(() => {})
    })
    const port = await bench.route([forward('a')], [clusterOf('a', [endpoint])])
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await left.promise
    socket.resume()
    await once(socket, 'close', patience())
  })

  it('asks connections of HTTP/2 that are silent to go, and lets what is under way on them end', async () => {
    await using bench = openPlaneBench({ idleTimeoutMs: 500 })
    const endpoint = await bench.serve((_, response) => void setTimeout(() => response.end('late'), 1_500))
    const port = await bench.route([forward('a')], [clusterOf('a', [endpoint])])
    const idle = http2.connect(`http://127.0.0.1:${port}`)
    await once(idle, 'close', patience())
    const busy = http2.connect(`http://127.0.0.1:${port}`)
    const stream = busy.request({ ':path': '/' })
    assert.equal(await text(stream), 'late')
    await once(busy, 'close', patience())
  })

  it('ends a connection on which requests are begun and taken back without end, and serves the others', async () => {
    await using bench = openPlaneBench()
    let open = 0
    const endpoint = await bench.serve(({ url }, response) => {
      if (url === '/fine') return response.end('fine')
      open++
      return response.on('close', () => open--)
    })
    const port = await bench.route([forward('a')], [clusterOf('a', [endpoint])])
    const attacker = connect(port, '127.0.0.1')
    attacker.on('error', () => {})
    attacker.resume()
    const ended = new Promise((resolve) => void attacker.once('close', resolve))
    void resetWithoutEnd(attacker)
    const session = http2.connect(`http://127.0.0.1:${port}`)
    let served = 0
    const attack = { isOver: false }
    void ended.then(() => (attack.isOver = true))
    do {
      assert.equal(await text(session.request({ ':path': '/fine' })), 'fine')
      served++
    } while (!attack.isOver || served < 10)
    session.destroy()
    await until(() => open === 0)
  })

  it('loses no request while whole routes and ports come, change and go', async () => {
    await using bench = openPlaneBench()
    const endpoints = await Promise.all(['x', 'y'].map((name) => bench.serve((_, response) => response.end(name))))
    const clusters = endpoints.map((endpoint, index) => clusterOf(`c${index}`, [endpoint]))
    const port = await bench.route([forward('c0')], clusters)
    const agent = new Agent({ keepAlive: true, maxSockets: 8 })
    const session = http2.connect(`http://127.0.0.1:${port}`)
    const seen = new Map<string, number>()
    const load = { isOver: false, answered: 0 }
    const note = (answer: string): void => {
      seen.set(answer, (seen.get(answer) ?? 0) + 1)
      load.answered++
    }
    const http1Client = async (): Promise<void> => {
      while (!load.isOver) {
        const { status, body } = await ask({ port, agent, method: 'POST', body: 'order' })
        note(`${status} ${body}`)
      }
    }
    const http2Client = async (): Promise<void> => {
      while (!load.isOver) note(await askBySession(session))
    }
    const clientsOf = [...Array.from({ length: 8 }, http1Client), ...Array.from({ length: 4 }, http2Client)]
    for (let change = 0; change < 30; change++) {
      const goal = load.answered + 24
      await until(() => load.answered >= goal)
      const own: Rule[] =
        change % 3 === 0
          ? [forward('c1')]
          : change % 3 === 1
            ? [forward('c0', { path: '/other' }), forward('c1')]
            : [forward('c0')]
      const main = listenerOf('test', { hosts: [{ hostname: '*', rules: own }] })
      const other = listenerOf('other', { hosts: [{ hostname: '*', rules: [forward('c1')] }] })
      const listeners = change % 2 === 0 ? [main, other] : [main]
      const used = change % 3 === 2 ? clusters.slice(0, 1) : clusters
      await bench.plane.apply({
        listeners: new Map(listeners.map((listener) => [listener.key, listener])),
        clusters: new Map((change % 2 === 0 ? clusters : used).map((cluster) => [cluster.key, cluster])),
      })
    }
    load.isOver = true
    await Promise.all(clientsOf)
    agent.destroy()
    session.destroy()
    assert.deepEqual([...seen.keys()].toSorted(), ['200 x', '200 y'])
  })
})

async function askBySession(session: ClientHttp2Session): Promise<string> {
  const stream = session.request({ ':path': '/' })
  const [headers] = await once(stream, 'response', patience())
  return `${headers[':status']} ${await text(stream)}`
}

async function until(isSo: () => boolean): Promise<void> {
  const { signal } = patience()
  while (!isSo()) {
    signal.throwIfAborted()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** CVE-2023-44487: heads of requests, each followed by its end, by whom nothing waits for answers. */
async function resetWithoutEnd(socket: Socket): Promise<void> {
  // :method GET, :scheme http, :path /, :authority a (RFC 7541, appendix A).
  const head = Buffer.from([0x82, 0x86, 0x84, 0x41, 1, 0x61])
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  socket.write(frame(4, 0, 0, Buffer.alloc(0)))
  for (let stream = 1; !socket.destroyed; stream += 2) {
    socket.write(Buffer.concat([frame(1, 0x5, stream, head), frame(3, 0, stream, Buffer.from([0, 0, 0, 8]))]))
    if (stream % 64 === 1) await new Promise((resolve) => setImmediate(resolve))
  }
}

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}
