import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectTcp, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { connect } from 'node:tls'

import { loadPki } from '../pki.ts'
import { HeadWriter } from './answer-head.ts'
import { PlainConnections } from './plain-connections.ts'
import type { PlainOptions } from './plain-connections.ts'
import { podNamed, startTestServer } from './test-server.ts'

const dir = mkdtempSync(join(tmpdir(), 'fairlead-plain-'))
const pki = await loadPki(dir)
after(() => rmSync(dir, { recursive: true, force: true }))

const pods = '/api/v1/namespaces/default/pods'
/** Of all tests of a suite together: a machine may be busy with others. */
const deadline = { timeout: 120_000 }

/** A client that sends bytes and reads answers with a length. */
class RawClient implements Disposable {
  readonly socket: Socket
  #text = ''
  #wake: () => void = () => undefined

  constructor(socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true).on('error', () => undefined)
    socket.on('data', (data) => {
      this.#text += data.toString('latin1')
      this.#wake()
    })
    socket.on('close', () => this.#wake())
  }

  /** The next answer, or what there is of it when the connection has ended. */
  async answer(): Promise<{ head: string; body: string }> {
    for (;;) {
      const end = this.#text.indexOf('\r\n\r\n') + 4
      const head = this.#text.slice(0, end)
      const size = end + Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
      if (end > 3 && this.#text.length >= size) {
        const body = this.#text.slice(end, size)
        this.#text = this.#text.slice(size)
        return { head, body }
      }
      if (this.socket.destroyed) return { head: this.#text, body: '' }
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  async ask(text: string): Promise<{ head: string; body: string }> {
    this.socket.write(text)
    return await this.answer()
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}

interface Listening extends AsyncDisposable {
  open(): Promise<RawClient>
}

async function listen(): Promise<Listening> {
  const tokens = new Map([['token', { user: 'admin', groups: ['system:masters'] }]])
  const api = await startTestServer({ tokens })
  const tls = { key: pki.server.key, cert: pki.server.certificate, ca: pki.ca }
  const { port } = await api.server.listen({ tls })
  return {
    async open() {
      const socket = connect({ port, host: '127.0.0.1', ca: pki.ca })
      await once(socket, 'secureConnect')
      return new RawClient(socket)
    },
    [Symbol.asyncDispose]: () => api[Symbol.asyncDispose](),
  }
}

function requestText(method: string, path: string, body = '', more: readonly string[] = []): string {
  const lines = [`${method} ${path} HTTP/1.1`, 'host: localhost', 'authorization: Bearer token', ...more]
  if (body !== '') lines.push('content-type: application/json', `content-length: ${Buffer.byteLength(body)}`)
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}

function podText(name: string): string {
  return JSON.stringify(podNamed(name))
}

describe('requests over one connection of the API server', deadline, () => {
  it('are answered as node:http answers them', async () => {
    await using api = await listen()
    for (const [method, path, body] of [
      ['POST', `${pods}?dryRun=All`, podText('a')],
      ['POST', `${pods}?dryRun=All`, '{"metadata":{"name":"odd"},"spek":{"\u00e4\\r\\n":1}}'],
      ['POST', pods, '{'],
      ['PATCH', `${pods}/none`, '{}'],
      ['GET', '/api/v1/namespaces/default'],
      ['GET', '/api/v1/namespaces'],
      ['GET', `${pods}/none`],
      ['GET', `${pods}?watch=true&resourceVersion=x`],
      ['GET', '/api/%zz'],
      ['GET', '/nowhere'],
      ['GET', '/openapi/v3'],
      ['DELETE', `${pods}/none`],
    ] as const) {
      const seen: string[] = []
      // A request with this header is left to node:http.
      for (const more of [[], ['te: trailers']]) {
        using client = await api.open()
        const { head, body: got } = await client.ask(requestText(method, path, body, more))
        // node:http ends a connection whose request was refused before its body was there.
        const lines = head.split('\r\n').filter((line) => !/^(?:date|keep-alive|connection):/i.test(line))
        // Others write meanwhile: what a list tells of the revision is its own.
        const text = got.replace(/(?<=List",.*"metadata":\{)"resourceVersion":"\d+"/, '')
        seen.push([...lines.toSorted(), text].join('\n').replace(/"(?:uid|\w+Timestamp|time)":"[^"]*"/g, ''))
      }
      assert.equal(seen[0], seen[1], `${method} ${path}`)
    }
  })

  it('are warned in whatever letters a field has', async () => {
    await using api = await listen()
    using client = await api.open()
    const body = '{"metadata":{"name":"odd"},"日本":1}'
    const { head } = await client.ask(requestText('POST', '/api/v1/namespaces/default/configmaps', body))
    assert.match(head, /^HTTP\/1.1 201/)
    assert.ok(Buffer.from(head, 'latin1').toString().includes('unknown field \\"日本\\"'), head)
  })

  it('are answered in order when they come at once, and however they are cut into pieces', async () => {
    await using api = await listen()
    using client = await api.open()
    const names = ['a', 'b', 'c', 'd']
    client.socket.write(names.map((name) => requestText('POST', pods, podText(name))).join(''))
    for (const name of names) assert.match((await client.answer()).body, new RegExp(`"metadata":{"name":"${name}"`))
    const text = requestText('POST', pods, podText('e'))
    for (const size of [1, 9, 100]) {
      for (let at = 0; at < text.length; at += size) {
        client.socket.write(text.slice(at, at + size))
        if (at < 20 * size) await new Promise(setImmediate)
      }
      const { head } = await client.answer()
      assert.match(head, size === 1 ? /^HTTP\/1.1 201/ : /^HTTP\/1.1 409/)
    }
  })

  it('go on after a list, after a body in chunks and after a large body', async () => {
    await using api = await listen()
    using client = await api.open()
    assert.match((await client.ask(requestText('POST', pods, podText('a')))).head, /^HTTP\/1.1 201/)
    assert.match((await client.ask(requestText('GET', '/api/v1/pods'))).body, /"items":\[\{.*"name":"a"/)
    const large = { ...podNamed('large'), metadata: { name: 'large', annotations: { a: 'x'.repeat(100_000) } } }
    assert.match((await client.ask(requestText('POST', pods, JSON.stringify(large)))).head, /^HTTP\/1.1 201/)
    const chunked = ['content-type: application/json', 'transfer-encoding: chunked']
    const body = podText('b')
    const sent = `${requestText('POST', pods, '', chunked)}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
    assert.match((await client.ask(sent)).head, /^HTTP\/1.1 201/)
    assert.match((await client.ask(requestText('GET', `${pods}/b`))).body, /"name":"b"/)
  })

  it('may end in another protocol', async () => {
    await using api = await listen()
    using client = await api.open()
    assert.match((await client.ask(requestText('GET', '/readyz'))).head, /^HTTP\/1.1 200/)
    const key = Buffer.alloc(16, 'k').toString('base64')
    const upgrade = ['connection: Upgrade', 'upgrade: websocket', 'sec-websocket-version: 13']
    const asked = requestText('GET', `${pods}?watch=true`, '', [...upgrade, `sec-websocket-key: ${key}`])
    assert.match((await client.ask(asked)).head, /^HTTP\/1.1 101/)
  })

  it('leave their place when the client goes away', async () => {
    await using api = await listen()
    using watcher = await api.open()
    watcher.socket.write(requestText('GET', `${pods}?watch=true`))
    assert.match((await watcher.answer()).head, /^HTTP\/1.1 200/)
    watcher.socket.destroy()
    using reader = await api.open()
    for (;;) {
      const { body } = await reader.ask(requestText('GET', '/metrics'))
      if (/apiserver_longrunning_requests\{[^}]*verb="WATCH"[^}]*\} 0/.test(body)) break
    }
  })

  for (const { name, lines } of [
    { name: 'a length and chunks', lines: ['content-length: 5', 'transfer-encoding: chunked'] },
    { name: 'two lengths', lines: ['content-length: 5', 'content-length: 6'] },
    { name: 'a bare line feed', lines: ['content-length: 0\ntransfer-encoding: chunked'] },
    { name: 'a blank before the colon', lines: ['content-length : 5'] },
  ]) {
    it(`end with ${name}`, async () => {
      await using api = await listen()
      using client = await api.open()
      assert.match((await client.ask(requestText('GET', '/readyz'))).head, /^HTTP\/1.1 200/)
      const hidden = requestText('POST', pods, podText('hidden'))
      assert.match(
        (await client.ask(`${requestText('POST', pods, '', lines)}0\r\n\r\n${hidden}`)).head,
        /^HTTP\/1.1 400/,
      )
      await client.answer()
      using other = await api.open()
      assert.match((await other.ask(requestText('GET', `${pods}/hidden`))).head, /^HTTP\/1.1 404/)
    })
  }
})

/** Connections without TLS, whose requests are answered with what they ask for. */
async function serve(
  options: Partial<PlainOptions>,
): Promise<AsyncDisposable & { plain: PlainConnections; handedOver: Promise<string>; connect(): RawClient }> {
  const { promise: handedOver, resolve } = Promise.withResolvers<string>()
  const plain = new PlainConnections({
    serve(request, connection) {
      connection.reply({ status: 200, headers: {}, body: { pieces: [Buffer.from(request.url)] } })
      return Promise.resolve()
    },
    handOver(socket) {
      socket.once('data', (data) => resolve(data.toString('latin1')))
    },
    heads: new HeadWriter(1000),
    checkMs: 30_000,
    keepAliveMs: 100_000,
    ...options,
  })
  const server = createServer((socket) => plain.accept(socket)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const clients: Socket[] = []
  return {
    plain,
    handedOver,
    connect() {
      const client = new RawClient(connectTcp({ port, host: '127.0.0.1' }))
      clients.push(client.socket)
      return client
    },
    async [Symbol.asyncDispose]() {
      plain.close()
      for (const each of clients) each.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

describe('PlainConnections', deadline, () => {
  it('hands over a request that takes long, with all that has come of it', async () => {
    // So long that the first request is there, on a busy machine too.
    await using server = await serve({ checkMs: 500 })
    const client = server.connect()
    assert.equal((await client.ask('GET /a HTTP/1.1\r\nhost: a\r\n\r\n')).body, '/a')
    client.socket.write('POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nxx')
    assert.equal(await server.handedOver, 'POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nxx')
  })

  it('hands over who has said nothing yet', async () => {
    const { promise: silent, resolve } = Promise.withResolvers<void>()
    await using server = await serve({ handOver: () => resolve(), checkMs: 10 })
    server.connect()
    await silent
  })

  it('ends a connection that was of use and is not any more', async () => {
    await using server = await serve({ keepAliveMs: 30, checkMs: 500 })
    const client = server.connect()
    assert.equal((await client.ask('GET /a HTTP/1.1\r\nhost: a\r\n\r\n')).body, '/a')
    if (!client.socket.destroyed) await once(client.socket, 'close')
  })

  it('reads no further than the next request while one is answered', async () => {
    const { promise: go, resolve } = Promise.withResolvers<void>()
    const asked: string[] = []
    await using server = await serve({
      async serve(request, connection) {
        asked.push(request.url)
        await go
        connection.reply({ status: 200, headers: {}, body: { pieces: [Buffer.from(request.url)] } })
      },
    })
    const client = server.connect()
    const next = Buffer.alloc(16 << 20, 'GET /next HTTP/1.1\r\nhost: a\r\n\r\n')
    client.socket.write('GET /first HTTP/1.1\r\nhost: a\r\n\r\n')
    client.socket.write(next)
    while (asked.length === 0) await new Promise(setImmediate)
    for (let turn = 0; turn < 1000; turn += 1) await new Promise(setImmediate)
    assert.ok(client.socket.writableLength > 0, 'the client has to wait')
    assert.deepEqual(asked, ['/first'])
    resolve()
    assert.equal((await client.answer()).body, '/first')
    assert.equal((await client.answer()).body, '/next')
  })

  it('lets a request under way finish when it closes', async () => {
    const { promise: go, resolve } = Promise.withResolvers<void>()
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
    await using server = await serve({
      async serve(_request, connection) {
        begin()
        await go
        connection.reply({ status: 200, headers: {}, body: { pieces: [Buffer.from('done')] } })
      },
    })
    const client = server.connect()
    client.socket.write('GET /a HTTP/1.1\r\nhost: a\r\n\r\n')
    await begun
    server.plain.close()
    resolve()
    assert.equal((await client.answer()).body, 'done')
    if (!client.socket.destroyed) await once(client.socket, 'close')
  })
})
