import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { connect } from 'node:tls'
import type { TLSSocket } from 'node:tls'

import { loadPki } from '../pki.ts'
import type { HttpLimits } from './http-server.ts'
import { podNamed, startTestServer } from './test-server.ts'
import type { TestServer } from './test-server.ts'

const dir = mkdtempSync(join(tmpdir(), 'fairlead-limits-'))
const pki = await loadPki(dir)
after(() => rmSync(dir, { recursive: true, force: true }))

const tls = { key: pki.server.key, cert: pki.server.certificate, ca: pki.ca }
const tokens = new Map([
  ['admin-token', { user: 'admin', groups: ['system:masters'] }],
  ['node-token', { user: 'system:node:n1', groups: ['system:nodes'] }],
])
const pods = '/api/v1/namespaces/default/pods'
/** Of all tests of the suite together: a machine may be busy with others. */
const deadline = { timeout: 120_000 }

async function listen(limits: Partial<HttpLimits> = {}): Promise<TestServer & { port: number }> {
  const api = await startTestServer({ tokens })
  const { port } = await api.server.listen({ tls, limits })
  return { ...api, port, [Symbol.asyncDispose]: () => api[Symbol.asyncDispose]() }
}

const keptChars = 200_000

/** Unlike `once`, which rejects for the reset that may come before. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

/** A client that does what it is told to, byte by byte. */
class RawClient implements Disposable {
  readonly socket: TLSSocket
  readonly ended: Promise<unknown>
  /** Names of objects that were received. */
  readonly names = new Set<string>()
  #text = ''
  #wake: () => void = () => undefined

  private constructor(socket: TLSSocket) {
    this.socket = socket
    this.ended = closed(socket)
    // A server that cuts a connection may reset it.
    socket.on('error', () => undefined)
    socket.on('close', () => this.#wake())
  }

  static async open(port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', ca: pki.ca })
    await once(socket, 'secureConnect')
    return new RawClient(socket)
  }

  read(): this {
    this.socket.on('data', (data) => {
      this.#text = (this.#text + data.toString('latin1')).slice(-keptChars)
      for (const [, name = ''] of this.#text.slice(-data.length - 50).matchAll(/"name":"(\w+)"/g)) this.names.add(name)
      this.#wake()
    })
    this.socket.resume()
    return this
  }

  send(text: string): void {
    this.socket.write(text)
  }

  ask(method: string, path: string, { token = 'admin-token', headers = [] as string[], body = '' } = {}): void {
    const lines = [
      `${method} ${path} HTTP/1.1`,
      'host: localhost',
      `authorization: Bearer ${token}`,
      ...headers,
      ...(body === '' ? [] : ['content-type: application/json', `content-length: ${body.length}`]),
    ]
    this.send(`${lines.join('\r\n')}\r\n\r\n${body}`)
  }

  /** Resolves with the end of what was received when it matches, or when the connection is gone. */
  async until(pattern: RegExp | string): Promise<string> {
    const isThere = (): boolean => (typeof pattern === 'string' ? this.names.has(pattern) : pattern.test(this.#text))
    while (!isThere() && !this.socket.destroyed) {
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
    return this.#text
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}

async function isServed(port: number): Promise<void> {
  using client = (await RawClient.open(port)).read()
  client.ask('GET', '/readyz')
  assert.match(await client.until(/ok$/), /^HTTP\/1.1 200/)
}

describe('a listener of the API server', deadline, () => {
  it('refuses a head that is too large, and a body that is too large however it is announced', async () => {
    await using api = await listen()
    {
      using client = (await RawClient.open(api.port)).read()
      client.ask('GET', pods, { headers: [`x-large: ${'x'.repeat(80 << 10)}`] })
      // The answer may be lost: what the client still sends resets the connection.
      assert.match(await client.until(/\r\n\r\n/), /^(HTTP\/1.1 431|$)/)
    }
    const message = /"message":"Request entity too large: limit is 3145728".*"reason":"RequestEntityTooLarge"/
    {
      using client = (await RawClient.open(api.port)).read()
      client.ask('POST', pods, { headers: ['content-type: application/json', 'content-length: 3145729'] })
      assert.match(await client.until(/RequestEntityTooLarge/), message)
    }
    {
      using client = (await RawClient.open(api.port)).read()
      client.ask('POST', pods, { headers: ['content-type: application/json', 'transfer-encoding: chunked'] })
      const chunk = `100000\r\n${'x'.repeat(1 << 20)}\r\n`
      client.send(chunk.repeat(3))
      client.send('1\r\nx\r\n')
      assert.match(await client.until(/RequestEntityTooLarge/), message)
    }
    await isServed(api.port)
  })

  it('cuts who does not get on with TLS, the head or the body of a request', async () => {
    await using api = await listen({ headMs: 4000, requestMs: 5000, checkMs: 50 })
    const silent = connectTcp({ port: api.port, host: '127.0.0.1' }).on('error', () => undefined)
    using slowHead = (await RawClient.open(api.port)).read()
    slowHead.send('GET /readyz HTTP/1.1\r\nhost: loc')
    using slowBody = (await RawClient.open(api.port)).read()
    slowBody.ask('POST', pods, { headers: ['content-type: application/json', 'content-length: 1000'] })
    const drip = setInterval(() => [slowHead, slowBody].forEach((client) => client.send('x')), 20)
    using stack = new DisposableStack()
    stack.defer(() => clearInterval(drip))
    stack.defer(() => silent.destroy())
    // On a busy machine somebody who does get on may be cut as well.
    await eventually(() => isServed(api.port))
    await Promise.all([closed(silent), slowHead.ended, slowBody.ended])
    // The answer may be lost: what the client still sends resets the connection.
    assert.match(await slowHead.until(/$/), /^(HTTP\/1.1 408|$)/)
    assert.equal(api.store.count('pods'), 0)
    await eventually(() => isServed(api.port))
  })

  it('cuts who does not read an answer, and keeps little of it', async () => {
    await using api = await listen({ drainMs: 1000 })
    for (let n = 0; n < 300; n += 1) {
      await api.store.put('configmaps', `default/c${n}`, () => Buffer.from(JSON.stringify(largeConfigMap(n))))
    }
    using client = await RawClient.open(api.port)
    client.socket.pause()
    client.ask('GET', '/api/v1/configmaps')
    const both = countSockets()
    await eventually(() => assert.ok(countSockets() < both, 'the end of the server is closed'))
    await isServed(api.port)
  })

  it('answers 429 as kube-apiserver beyond its requests in flight, but administrators and watches are served', async () => {
    await using api = await listen({ inFlight: { reading: 1, mutating: 1 } })
    using holder = (await RawClient.open(api.port)).read()
    // Its body does not come: the request stays in flight.
    holder.ask('POST', pods, {
      token: 'node-token',
      headers: ['content-type: application/json', 'content-length: 10', 'expect: 100-continue'],
    })
    await holder.until(/100 Continue/)
    using refused = (await RawClient.open(api.port)).read()
    refused.ask('DELETE', `${pods}/a`, { token: 'node-token' })
    const text = await refused.until(/later/)
    assert.match(text, /^HTTP\/1.1 429 Too Many Requests/)
    assert.match(text, /\r\nretry-after: 1\r\n/i)
    assert.match(text, /\r\n\r\nToo many requests, please try again later\.\n$/)
    using admin = (await RawClient.open(api.port)).read()
    admin.ask('POST', pods, { body: JSON.stringify(podNamed('a')) })
    assert.match(await admin.until(/\r\n\r\n/), /^HTTP\/1.1 201/)
    const watches = await Promise.all([1, 2, 3].map(() => RawClient.open(api.port)))
    for (const watch of watches) {
      using client = watch.read()
      client.ask('GET', '/api/v1/services?watch=true', { token: 'node-token' })
      assert.match(await client.until(/\r\n\r\n/), /^HTTP\/1.1 200/)
    }
    // The seat is free again when its holder is gone.
    holder[Symbol.dispose]()
    await eventually(async () => {
      using client = (await RawClient.open(api.port)).read()
      client.ask('DELETE', `${pods}/none`, { token: 'node-token' })
      assert.match(await client.until(/\r\n\r\n/), /^HTTP\/1.1 40[34]/)
    })
  })

  it('tells a watcher that fell behind 410 when it reads on, and the others every event', async () => {
    await using api = await listen()
    const path = `/api/v1/configmaps?watch=true&resourceVersion=${api.store.revision}`
    using sleeper = await RawClient.open(api.port)
    sleeper.socket.pause()
    sleeper.ask('GET', path)
    using reader = (await RawClient.open(api.port)).read()
    reader.ask('GET', path)
    await reader.until(/\r\n\r\n/)
    for (let n = 0; n < 40; n += 1) {
      await api.store.put('configmaps', `default/c${n}`, () => Buffer.from(JSON.stringify(largeConfigMap(n, 1 << 20))))
      await reader.until(`c${n}`)
    }
    assert.equal(reader.names.size, 40)
    sleeper.read()
    const end = await sleeper.until(/"type":"ERROR"/)
    assert.match(end, /"type":"ERROR".*"reason":"Expired".*"code":410/)
    assert.ok(!sleeper.names.has('c39'))
    assert.ok(!reader.socket.destroyed)
  })
})

function largeConfigMap(n: number, bytes = 60_000): object {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: `c${n}`, namespace: 'default', resourceVersion: '1' },
    data: { text: 'x'.repeat(bytes) },
  }
}

/** Both ends of every connection: they are all in this process. */
function countSockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
}

async function eventually(attempt: () => Promise<void> | void): Promise<void> {
  const until = Date.now() + 30_000
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (Date.now() > until) throw error
      await new Promise(setImmediate)
    }
  }
}
