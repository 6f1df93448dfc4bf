import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { Agent, get } from 'node:https'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import type { ClientHttp2Session } from 'node:http2'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { TLSSocket, connect as connectTls } from 'node:tls'
import { createLogger } from '../log/logger.ts'
import { drain } from '../service/drain.ts'
import { createHandler } from './handler.ts'
import { createRouteTable } from './router.ts'
import { createDrainableServer } from './server.ts'
import type { DrainableServer } from './server.ts'
import type { Refusal, ServerOptions } from './server-options.ts'

type Handle = (request: IncomingMessage, response: ServerResponse) => void

class Running implements AsyncDisposable {
  readonly server: DrainableServer
  readonly refused: Refusal[] = []
  port = 0

  constructor(options: ServerOptions, handle: Handle) {
    this.server = createDrainableServer(handle, { onRefused: (refusal) => this.refused.push(refusal), ...options })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.closeAll()
    await this.server.whenClosed()
  }
}

async function running(options: ServerOptions, handle: Handle = echo): Promise<Running> {
  const made = new Running(options, handle)
  made.port = await made.server.listen(0, '127.0.0.1')
  return made
}

/** Answers with the path and the body. */
function echo(request: IncomingMessage, response: ServerResponse): void {
  let body = ''
  request.on('data', (chunk) => (body += String(chunk)))
  request.on('error', () => {})
  request.on('end', () => response.end(`${request.url} ${body}`))
}

/** Sends bytes as they are; resolves to everything that comes back until the server hangs up. */
async function exchange(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let received = ''
  socket.on('data', (chunk) => (received += String(chunk)))
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(text)
  await once(socket, 'close')
  return received
}

function parseAnswers(text: string): { status: number; headers: string; body: string }[] {
  return text
    .split(/(?=HTTP\/1\.1 \d)/)
    .filter((part) => part !== '')
    .map((part) => {
      const [headers = '', body = ''] = part.split('\r\n\r\n')
      return { status: Number(headers.slice(9, 12)), headers: headers.toLowerCase(), body }
    })
}

async function waitFor(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 30_000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('Cannot go on: the condition did not come true in 30 s')
    await sleep(2)
  }
}

describe('createDrainableServer, bad input', { timeout: 300_000 }, () => {
  const big = `x-big: ${'a'.repeat(20_000)}`
  const badRequest = 'The request is not valid HTTP/1.1'
  for (const { name, text, status, detail = badRequest, reason = 'bad-request' } of [
    { name: 'noise', text: '\x16\x03\x01 what\r\n\r\n', status: 400 },
    { name: 'an unknown method', text: 'BREW / HTTP/1.1\r\nhost: x\r\n\r\n', status: 400 },
    { name: 'a version that does not exist', text: 'GET / HTTP/9.9\r\nhost: x\r\n\r\n', status: 400 },
    {
      name: 'two lengths',
      text: 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab',
      status: 400,
    },
    {
      name: 'a length beside chunks',
      text: 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      status: 400,
    },
    {
      name: 'chunks that are not the last encoding',
      text: 'POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n',
      status: 400,
    },
    {
      name: 'an encoding hidden by a space',
      text: 'POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n',
      status: 400,
    },
    { name: 'a negative length', text: 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n', status: 400 },
    {
      name: 'a length that is no number',
      text: 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1e3\r\n\r\n',
      status: 400,
    },
    { name: 'a folded header', text: 'GET / HTTP/1.1\r\nhost: x\r\nx-a: b\r\n c\r\n\r\n', status: 400 },
    { name: 'a bare line feed', text: 'GET / HTTP/1.1\nhost: x\n\n', status: 400 },
    { name: 'a NUL in a header', text: 'GET / HTTP/1.1\r\nhost: x\r\nx-a: b\0c\r\n\r\n', status: 400 },
    {
      name: 'a chunk size that is no number',
      text: 'POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
      status: 400,
    },
    { name: 'no host', text: 'GET / HTTP/1.1\r\n\r\n', status: 400, detail: 'The request has no Host header' },
    {
      name: 'a flood of headers',
      text: `GET / HTTP/1.1\r\nhost: x\r\n${big}\r\n\r\n`,
      status: 431,
      detail: 'The request headers are too large',
      reason: 'headers-too-large',
    },
  ]) {
    for (const http2 of [false, true]) {
      it(`answers ${status} to ${name}${http2 ? ' where HTTP/2 is spoken too' : ''}`, async () => {
        await using host = await running({ http2 })
        const [answer, ...more] = parseAnswers(await exchange(host.port, text))
        assert.equal(answer?.status, status)
        assert.deepEqual(more, [])
        assert.match(answer.headers, /connection: close/)
        assert.match(answer.headers, /content-type: application\/problem\+json/)
        const { title: _, ...problem } = JSON.parse(answer.body.replace(/^[\da-f]+\r\n|\r\n.*$/g, '')) as Record<
          string,
          unknown
        >
        assert.deepEqual(problem, { type: 'about:blank', status, detail })
        assert.deepEqual(host.refused, [{ status, reason }])
      })
    }
  }

  for (const { name, http2, text } of [
    { name: 'headers that trickle in', http2: false, text: 'GET / HTTP/1.1\r\nhost: x\r\n' },
    { name: 'headers that trickle in, where HTTP/2 is spoken too', http2: true, text: 'GET / HTTP/1.1\r\nhost: x\r\n' },
    { name: 'half of an HTTP/2 preface', http2: true, text: 'PRI * HTTP' },
    { name: 'a connection on which nothing comes', http2: true, text: '' },
    {
      name: 'a body that does not end',
      http2: false,
      text: 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab',
    },
  ]) {
    it(`answers 408 to ${name}`, async () => {
      await using host = await running({ http2, headersTimeoutMs: 100, requestTimeoutMs: 150 })
      const [answer] = parseAnswers(await exchange(host.port, text))
      assert.equal(answer?.status, 408)
      assert.match(answer.body, /did not arrive in time/)
      assert.deepEqual(host.refused, [{ status: 408, reason: 'timeout' }])
    })
  }

  it('answers 503 to one connection too many, and takes the next when there is room', async () => {
    await using host = await running({ maxConnections: 1 })
    const first = connect(host.port, '127.0.0.1')
    await waitFor(() => host.server.connections === 1)
    const [answer] = parseAnswers(await exchange(host.port, 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'))
    assert.equal(answer?.status, 503)
    assert.match(answer.headers, /retry-after: 1/)
    assert.deepEqual(host.refused, [{ status: 503, reason: 'too-many-connections' }])
    first.destroy()
    await waitFor(() => host.server.connections === 0)
    assert.equal((await fetch(`http://127.0.0.1:${host.port}/`)).status, 200)
  })

  it('closes a connection in good order after as many requests as it may have', async () => {
    await using host = await running({ maxRequestsPerSocket: 2 })
    const text = 'GET /a HTTP/1.1\r\nhost: x\r\n\r\n'
    const answers = parseAnswers(await exchange(host.port, text + text))
    assert.deepEqual(
      answers.map(({ status, headers }) => [status, headers.includes('connection: close')]),
      [
        [200, false],
        [200, true],
      ],
    )
  })

  it('answers the request before a broken one, and serves nothing after it', async () => {
    await using host = await running({})
    const answers = parseAnswers(await exchange(host.port, 'GET /good HTTP/1.1\r\nhost: x\r\n\r\nbad\r\n\r\n'))
    assert.equal(answers[0]?.status, 200)
    assert.ok(answers.length === 1 || answers[1]?.status === 400)
  })

  it('ignores an upgrade to a protocol it does not speak', async () => {
    await using host = await running({ upgrade: () => assert.fail('not a WebSocket') })
    for (const protocol of ['h2c', 'smtp', 'websocket, h2c']) {
      const [answer] = parseAnswers(
        await exchange(
          host.port,
          `GET /x HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: ${protocol}\r\n\r\n`,
        ),
      )
      assert.equal(answer?.status, 200, protocol)
    }
  })

  it('answers 500 when the upgrade handler fails', async () => {
    await using host = await running({ upgrade: () => Promise.reject(new Error('secret')) })
    const text = await exchange(
      host.port,
      'GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
    )
    assert.equal(parseAnswers(text)[0]?.status, 500)
    assert.ok(!text.includes('secret'))
  })
})

describe('createDrainableServer, pipelining', { timeout: 300_000 }, () => {
  it('answers pipelined requests in order while it is told to stop, the last with close', async () => {
    const release = Promise.withResolvers<void>()
    const arrived: string[] = []
    await using host = await running({}, async (request, response) => {
      arrived.push(request.url ?? '')
      await release.promise
      response.end(request.url)
    })
    const text = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`
    const socket = connect(host.port, '127.0.0.1')
    let received = ''
    socket.on('data', (chunk) => (received += String(chunk)))
    socket.write(text('/1') + text('/2'))
    await waitFor(() => arrived.length === 2)
    host.server.announceClose()
    socket.write(text('/3'))
    await waitFor(() => arrived.length === 3)
    release.resolve()
    await once(socket, 'close')
    assert.deepEqual(
      parseAnswers(received).map(({ headers, body }) => [body, headers.includes('connection: close')]),
      [
        ['/1', false],
        ['/2', false],
        ['/3', true],
      ],
    )
  })
})

describe('createDrainableServer, HTTP/2', { timeout: 300_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-tls-'))
  after(() => rmSync(folder, { recursive: true }))
  const first = makeCertificate(folder, 'first')

  for (const scheme of ['http', 'https'] as const) {
    it(`serves both protocols on one ${scheme} port`, async () => {
      const tls = scheme === 'https' ? first : undefined
      const table = createRouteTable()
      table.router.get('/url', ({ request, query }) => ({
        url: request.url,
        a: query.get('a'),
        h: request.headers.get('x-a'),
      }))
      table.router.post('/text', async ({ request }) => await request.text())
      table.router.get(
        '/cookies',
        () =>
          new Response('x', {
            headers: [
              ['set-cookie', 'a=1'],
              ['set-cookie', 'b=2'],
            ],
          }),
      )
      table.router.get('/broken', () => Promise.reject(new Error('secret')))
      const log = createLogger({ level: 'silent' })
      const served: string[] = []
      const handle = createHandler({
        match: table.match,
        log,
        onServed: ({ status, protocolVersion, scheme: seen }) => served.push(`${status} ${protocolVersion} ${seen}`),
      })
      await using host = await running({ http2: true, tls }, handle)
      const client = connectHttp2(`${scheme}://127.0.0.1:${host.port}`, { rejectUnauthorized: false })
      const url = `${scheme}://127.0.0.1:${host.port}/url?a=1`
      assert.deepEqual(JSON.parse((await call(client, { ':path': '/url?a=1', 'x-a': 'y' })).body), {
        url,
        a: '1',
        h: 'y',
      })
      assert.equal((await call(client, { ':path': '/text', ':method': 'POST' }, 'grüß')).body, 'grüß')
      assert.deepEqual((await call(client, { ':path': '/cookies' })).headers['set-cookie'], ['a=1', 'b=2'])
      const broken = await call(client, { ':path': '/broken' })
      assert.equal(broken.headers[':status'], 500)
      assert.equal(broken.headers['content-type'], 'application/problem+json')
      assert.ok(!broken.body.includes('secret'))
      assert.match(String(broken.headers['x-request-id']), /./)
      client.close()
      const http1 = await new Promise<IncomingMessage>((resolve, reject) => {
        if (scheme === 'https') get(url, { rejectUnauthorized: false, agent: new Agent() }, resolve).on('error', reject)
        else void import('node:http').then((http) => http.get(url, resolve).on('error', reject))
      })
      assert.equal(http1.httpVersion, '1.1')
      assert.deepEqual(await new Response(http1 as unknown as ReadableStream).json(), { url, a: '1', h: null })
      assert.deepEqual(served, [
        `200 2.0 ${scheme}`,
        `200 2.0 ${scheme}`,
        `200 2.0 ${scheme}`,
        `500 2.0 ${scheme}`,
        `200 1.1 ${scheme}`,
      ])
    })
  }

  it('says goodbye with a GOAWAY for later streams first, serves what was on its way, and closes', async () => {
    const release = Promise.withResolvers<void>()
    let begun = 0
    await using host = await running({ http2: true }, async (request, response) => {
      begun += 1
      await release.promise
      response.end(request.url)
    })
    const client = connectHttp2(`http://127.0.0.1:${host.port}`)
    const goaways: number[] = []
    client.on('goaway', (_code, lastStream) => goaways.push(lastStream))
    const one = call(client, { ':path': '/1' })
    await waitFor(() => begun === 1)
    // On its way: the server has not read it, the client has not heard.
    const two = call(client, { ':path': '/2' })
    await nextTurn()
    host.server.announceClose()
    await waitFor(() => begun === 2)
    await waitFor(() => goaways.length > 0)
    assert.equal(goaways[0], 2 ** 31 - 1)
    assert.equal(client.closed, true)
    release.resolve()
    assert.deepEqual([(await one).body, (await two).body], ['/1', '/2'])
    await waitFor(() => host.server.connections === 0)
  })

  it('drains idle and busy sessions, and aborts what takes too long', async () => {
    const aborted = Promise.withResolvers<void>()
    const host = await running({ http2: true }, (_request, response) => void response.once('close', aborted.resolve))
    const idle = connectHttp2(`http://127.0.0.1:${host.port}`)
    const busy = connectHttp2(`http://127.0.0.1:${host.port}`)
    const stuck = call(busy, { ':path': '/' })
    stuck.catch(() => {})
    await waitFor(() => host.server.requests === 1)
    const { wasCut } = await drain(host.server, { delayMs: 0, timeoutMs: 300, idleGraceMs: 10 })
    assert.equal(wasCut, true)
    await aborted.promise
    await assert.rejects(stuck)
    if (!idle.destroyed) await once(idle, 'close')
  })

  it('takes a renewed certificate for new connections, and refuses one that does not fit', async () => {
    await using host = await running({ tls: first })
    assert.equal(await commonName(host.port), 'first')
    host.server.renewTls(makeCertificate(folder, 'second'))
    assert.equal(await commonName(host.port), 'second')
    const other = makeCertificate(folder, 'other')
    assert.throws(() => host.server.renewTls({ cert: first.cert, key: other.key }), { code: 'FAIRLEAD_SERVICE_TLS' })
    assert.equal(await commonName(host.port), 'second')
    assert.throws(() => createDrainableServer(echo, { tls: { cert: 'x', key: 'y' } }), { code: 'FAIRLEAD_SERVICE_TLS' })
  })

  it('drops what is not TLS on a TLS port, and waits for no handshake that does not come', async () => {
    await using host = await running({ tls: first, headersTimeoutMs: 100 })
    assert.equal(await exchange(host.port, 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'), '')
    assert.equal(await exchange(host.port, ''), '')
    await waitFor(() => host.server.connections === 0)
    assert.equal(host.refused[0]?.reason, 'tls')
  })

  it('cuts a peer that takes back request after request', async () => {
    await using host = await running({ http2: true, maxStreamResets: 20 }, () => {})
    const client = connectHttp2(`http://127.0.0.1:${host.port}`)
    client.on('error', () => {})
    let sent = 0
    while (!client.destroyed && !client.closed && sent < 5000) {
      const stream = client.request({ ':path': '/' })
      stream.on('error', () => {})
      stream.close(8)
      sent += 1
      if (sent % 20 === 0) await sleep(1)
    }
    assert.ok(sent < 1000, `cut after ${sent}`)
    await waitFor(() => host.server.connections === 0)
  })

  for (const { name, frame } of [
    { name: 'settings', frame: frameOf(4, 0, 0, Buffer.alloc(0)) },
    { name: 'pings', frame: frameOf(6, 0, 0, Buffer.alloc(8)) },
  ]) {
    it(`cuts a peer that floods it with ${name} and does not read`, async () => {
      await using host = await running({ http2: true })
      const socket = await speakHttp2(host.port)
      socket.pause()
      const flood = Buffer.concat(Array.from({ length: 1000 }, () => frame))
      while (!socket.destroyed && host.server.connections > 0) {
        socket.write(flood)
        await sleep(1)
      }
      socket.destroy()
    })
  }

  it('refuses more streams than allowed, and headers that are too long, without ending the session', async () => {
    const release = Promise.withResolvers<void>()
    await using host = await running(
      { http2: true, maxConcurrentStreams: 2, maxHeaderBytes: 2000 },
      async (_, response) => {
        await release.promise
        response.end('ok')
      },
    )
    const client = connectHttp2(`http://127.0.0.1:${host.port}`)
    client.on('error', () => {})
    await once(client, 'remoteSettings')
    assert.equal(client.remoteSettings.maxConcurrentStreams, 2)
    await assert.rejects(call(client, { ':path': '/', 'x-big': 'a'.repeat(4000) }))
    const calls = [1, 2, 3].map((id) => call(client, { ':path': `/${id}` }))
    await waitFor(() => host.server.requests === 2)
    release.resolve()
    assert.deepEqual(
      (await Promise.all(calls)).map(({ body }) => body),
      ['ok', 'ok', 'ok'],
    )
    client.destroy()
  })

  it('ends a session after as many requests as it may have', async () => {
    await using host = await running({ http2: true, maxRequestsPerSocket: 2 })
    const client = connectHttp2(`http://127.0.0.1:${host.port}`)
    await call(client, { ':path': '/1' })
    await call(client, { ':path': '/2' })
    if (!client.closed) await once(client, 'goaway')
    await waitFor(() => host.server.connections === 0)
  })

  it('answers 408 to a stream whose body does not end', async () => {
    await using host = await running({ http2: true, requestTimeoutMs: 50 })
    const client = connectHttp2(`http://127.0.0.1:${host.port}`)
    const stream = client.request({ ':path': '/', ':method': 'POST' })
    stream.write('half')
    stream.resume()
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
    assert.equal(headers[':status'], 408)
    stream.close()
    client.destroy()
  })
})

async function call(
  client: ClientHttp2Session,
  headers: Record<string, string>,
  body = '',
): Promise<{ headers: Record<string, unknown>; body: string }> {
  const stream = client.request(headers, { endStream: body === '' })
  const { promise, resolve, reject } = Promise.withResolvers<{ headers: Record<string, unknown>; body: string }>()
  let answer: Record<string, unknown> = {}
  let text = ''
  stream.on('response', (given) => (answer = given))
  stream.setEncoding('utf8')
  stream.on('data', (chunk: string) => (text += chunk))
  stream.on('error', reject)
  stream.on('end', () => resolve({ headers: answer, body: text }))
  stream.on('close', () => reject(new Error(`the stream was closed with code ${stream.rstCode}`)))
  if (body !== '') stream.end(body)
  return await promise
}

function makeCertificate(folder: string, name: string): { cert: string; key: string } {
  const [cert, key] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)]
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'].concat([
      '-subj',
      `/CN=${name}`,
      '-keyout',
      key,
      '-out',
      cert,
    ]),
    { stdio: 'ignore' },
  )
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
}

async function commonName(port: number): Promise<unknown> {
  const socket: TLSSocket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const { subject } = socket.getPeerCertificate()
  socket.destroy()
  return subject.CN
}

function frameOf(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

async function speakHttp2(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  socket.write(frameOf(4, 0, 0, Buffer.alloc(0)))
  return socket
}
