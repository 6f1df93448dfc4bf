import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IncomingMessage, RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { createServer as createTcpServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { HTTPGetAction } from '@fairlead/kube/types/core-v1'

import { runHook, runProbe } from './actions.ts'
import type { ActionResult, ActionTarget } from './actions.ts'

const longMs = 30_000
const target: ActionTarget = {
  container: { name: 'main' },
  podIp: '127.0.0.1',
  exec: () => Promise.reject(new Error('nothing to run')),
}

/** A server of one test; with the connections that were made. */
async function listen(server: Server): Promise<AsyncDisposable & { readonly port: number; readonly made: number }> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket.on('error', () => {})))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    get made() {
      return sockets.size
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function probe(
  listener: RequestListener,
  action: Partial<HTTPGetAction> = {},
  timeoutMs = longMs,
): Promise<ActionResult> {
  await using server = await listen(createServer(listener))
  const { ok, message, isWarning } = await runProbe({ httpGet: { port: server.port, ...action } }, target, timeoutMs)
  return { ok, message: message.replaceAll(String(server.port), 'PORT'), ...(isWarning ? { isWarning } : {}) }
}

/** A server that says this, whatever it is asked. */
async function probeBytes(bytes: string): Promise<ActionResult> {
  await using server = await listen(createTcpServer((socket) => socket.resume().end(bytes, 'latin1')))
  const { ok, message } = await runProbe({ httpGet: { port: server.port } }, target, longMs)
  return { ok, message: message.replaceAll(String(server.port), 'PORT') }
}

describe('runProbe of HTTP', () => {
  for (const [status, ok] of [
    [200, true],
    [299, true],
    [304, true],
    [400, false],
    [500, false],
  ] as const) {
    it(`takes status ${status} for ${ok ? 'well' : 'a failure'}`, async () => {
      const result = await probe((_request, response) => response.writeHead(status).end('secret'))
      assert.equal(result.ok, ok)
      if (!ok) assert.equal(result.message, `HTTP probe failed with statuscode: ${status}`)
    })
  }

  it('asks as a kubelet does, over a connection of its own', async () => {
    const asked: IncomingMessage[] = []
    await using server = await listen(
      createServer((request, response) => {
        asked.push(request)
        response.end()
      }),
    )
    for (let count = 0; count < 3; count += 1)
      assert.ok((await runProbe({ httpGet: { path: 'healthz?deep=1', port: server.port } }, target, longMs)).ok)
    assert.equal(server.made, 3)
    const host = `127.0.0.1:${server.port}`
    assert.equal(asked[0]?.url, '/healthz?deep=1')
    assert.deepEqual(asked[0]?.rawHeaders, [
      'Host',
      host,
      'User-Agent',
      'kube-probe/1.36',
      'Accept',
      '*/*',
      'Connection',
      'close',
    ])
  })

  it('says what else it is told to say', async () => {
    let raw: readonly string[] = []
    const httpHeaders = [
      { name: 'Host', value: 'shop.example' },
      { name: 'user-agent', value: 'mine' },
      { name: 'Accept', value: '' },
      { name: 'X-Twice', value: 'a' },
      { name: 'X-Twice', value: 'ü' },
    ]
    const result = await probe((request, response) => void ((raw = request.rawHeaders), response.end()), {
      httpHeaders,
    })
    assert.ok(result.ok)
    const utf8 = Buffer.from('ü').toString('latin1')
    assert.deepEqual(raw.slice(0, 8), ['Host', 'shop.example', 'User-Agent', 'mine', 'X-Twice', 'a', 'X-Twice', utf8])
  })

  it('lets no value begin another line, and no path another word', async () => {
    const httpHeaders = [{ name: 'X-A', value: 'a\r\nX-B: b' }]
    const bad = await probe((_request, response) => response.end(), { httpHeaders })
    assert.equal(bad.message, 'Get "http://127.0.0.1:PORT/": net/http: invalid header field value for "X-A"')
    let url: string | undefined
    await probe((request, response) => void ((url = request.url), response.end()), { path: '/a b\r\nc%20ü#part' })
    assert.equal(url, '/a%20b%0D%0Ac%20%C3%BC')
  })

  it('waits for the body, and not for more than a probe reads', async () => {
    const slow = await probe(
      (_request, response) => void response.writeHead(200, { 'content-length': 5 }).write('x'),
      {},
      100,
    )
    assert.equal(slow.ok, false)
    assert.match(slow.message, /context deadline exceeded/)
    const endless = await probe((_request, response) => void response.writeHead(200).write('x'.repeat(20_000)))
    assert.ok(endless.ok)
  })

  it('follows redirects within the host, with one deadline for all', async () => {
    const paths: (string | undefined)[] = []
    const result = await probe(({ url }, response) => {
      paths.push(url)
      if (url === '/end') response.writeHead(503).end()
      else response.writeHead(302, { location: url === '/' ? 'next?a=b' : '/end' }).end()
    })
    assert.deepEqual(paths, ['/', '/next?a=b', '/end'])
    assert.deepEqual(result, { ok: false, message: 'HTTP probe failed with statuscode: 503' })
    const round = await probe((_request, response) => response.writeHead(301, { location: '/' }).end())
    assert.deepEqual(round, { ok: false, message: 'Get "http://127.0.0.1:PORT/": stopped after 10 redirects' })
  })

  it('takes a redirect to another host for well, and warns', async () => {
    const location = 'http://elsewhere.example/'
    const result = await probe((_request, response) => response.writeHead(302, { location }).end('gone ü'))
    const message = 'Probe terminated redirects, Response body: gone ü'
    assert.deepEqual(result, { ok: true, message, isWarning: true })
  })

  it('says why there is no answer', async () => {
    const closed = await listen(createServer())
    await closed[Symbol.asyncDispose]()
    const { message } = await runProbe({ httpGet: { port: closed.port } }, target, longMs)
    const address = `127.0.0.1:${closed.port}`
    assert.equal(message, `Get "http://${address}/": dial tcp ${address}: connect: connection refused`)
    const silent = await probe(() => {}, {}, 50)
    const late = 'context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    assert.deepEqual(silent, { ok: false, message: `Get "http://127.0.0.1:PORT/": ${late}` })
    assert.deepEqual(await probeBytes(''), { ok: false, message: 'Get "http://127.0.0.1:PORT/": EOF' })
    assert.match((await probeBytes('SSH-2.0-x\r\n')).message, /malformed HTTP response "SSH-2.0-x"/)
    assert.match((await probeBytes('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx')).message, /unexpected EOF/)
  })

  it('reads answers however they are cut', async () => {
    const server = createTcpServer((socket) => {
      void (async () => {
        for (const part of [
          'HTTP/1.',
          '1 200 OK\r',
          '\ntransfer-encoding: chunked\r\n\r\n',
          '1\r\nx\r',
          '\n0\r\n\r\n',
        ]) {
          socket.write(part)
          await new Promise((resolve) => setImmediate(resolve))
        }
      })()
    })
    await using listening = await listen(server)
    assert.deepEqual(await runProbe({ httpGet: { port: listening.port } }, target, longMs), { ok: true, message: '' })
  })

  it('takes certificates as they are', async () => {
    await using server = await listen(createTlsServer(certificate(), (_request, response) => response.end('well')))
    const httpGet = { port: server.port, scheme: 'HTTPS' }
    assert.deepEqual(await runProbe({ httpGet }, target, longMs), { ok: true, message: '' })
    const plain = await probe((_request, response) => response.end(), { scheme: 'HTTPS' })
    const message = 'Get "https://127.0.0.1:PORT/": http: server gave HTTP response to HTTPS client'
    assert.deepEqual(plain, { ok: false, message })
  })
})

describe('runProbe of TCP', () => {
  it('connects, and says why it cannot', async () => {
    const server = await listen(createTcpServer())
    const tcpSocket = { port: server.port }
    assert.deepEqual(await runProbe({ tcpSocket }, target, longMs), { ok: true, message: '' })
    await server[Symbol.asyncDispose]()
    const message = `dial tcp 127.0.0.1:${server.port}: connect: connection refused`
    assert.deepEqual(await runProbe({ tcpSocket }, target, longMs), { ok: false, message })
  })
})

describe('runHook', () => {
  it('is done when a server has answered, whatever it said', async () => {
    let agent: string | undefined
    await using server = await listen(
      createServer(({ headers }, response) => void ((agent = headers['user-agent']), response.writeHead(500).end())),
    )
    assert.ok((await runHook({ httpGet: { port: server.port } }, target, longMs)).ok)
    assert.equal(agent, 'kube-lifecycle/1.36')
  })

  it('asks without TLS where a server has none, and keeps credentials to itself', async () => {
    let headers: IncomingMessage['headers'] = {}
    await using server = await listen(
      createServer((request, response) => void ((headers = request.headers), response.end())),
    )
    const httpHeaders = [
      { name: 'Authorization', value: 'Bearer secret' },
      { name: 'X-Id', value: '7' },
    ]
    assert.ok((await runHook({ httpGet: { port: server.port, scheme: 'HTTPS', httpHeaders } }, target, longMs)).ok)
    assert.equal(headers['authorization'], undefined)
    assert.equal(headers['x-id'], '7')
  })
})

function certificate(): { key: Buffer; cert: Buffer } {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-probe-'))
  const [key, cert] = [join(dir, 'key'), join(dir, 'cert')]
  const what = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=nobody', '-days', '1']
  try {
    execFileSync('openssl', ['req', '-x509', ...what, '-keyout', key, '-out', cert], { stdio: 'ignore' })
    return { key: readFileSync(key), cert: readFileSync(cert) }
  } finally {
    rmSync(dir, { recursive: true })
  }
}
