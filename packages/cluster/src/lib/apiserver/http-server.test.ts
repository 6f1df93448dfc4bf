import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import type { RequestOptions } from 'node:https'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'

import { loadPki } from '../pki.ts'
import { podNamed, startTestServer } from './test-server.ts'
import type { TestServer } from './test-server.ts'

const dir = mkdtempSync(join(tmpdir(), 'fairlead-tls-'))
const pki = await loadPki(dir)
after(() => rmSync(dir, { recursive: true, force: true }))

const tls = { key: pki.server.key, cert: pki.server.certificate, ca: pki.ca }
const tokens = new Map([
  ['admin-token', { user: 'admin', groups: ['system:masters'] }],
  ['weak-token', { user: 'joe', groups: [] }],
])

interface HttpAnswer {
  status: number
  headers: Record<string, unknown>
  text: string
}

interface Listening extends TestServer {
  readonly port: number
  http(method: string, path: string, options?: RequestOptions, body?: string): Promise<HttpAnswer>
}

async function listen(): Promise<Listening> {
  const api = await startTestServer({ tokens })
  const { port } = await api.server.listen({ tls })
  return {
    ...api,
    port,
    http: (method, path, options = {}, body = '') => send({ method, path, port, ...options }, body),
    [Symbol.asyncDispose]: () => api[Symbol.asyncDispose](),
  }
}

function send(options: RequestOptions, body: string): Promise<HttpAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>()
  const outgoing = request({ host: '127.0.0.1', ca: pki.ca, agent: false, timeout: 60_000, ...options }, (incoming) => {
    let text = ''
    incoming.setEncoding('utf8')
    incoming.on('data', (chunk: string) => (text += chunk))
    incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text }))
    incoming.on('error', reject)
  })
  outgoing.on('error', reject)
  outgoing.end(body)
  return promise
}

function bearer(token: string): RequestOptions {
  return { headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' } }
}

const pods = '/api/v1/namespaces/default/pods'

describe('listen', () => {
  it('believes tokens and client certificates of its authority, and shows others health and version only', async () => {
    await using api = await listen()
    const certificate = { cert: pki.admin.certificate, key: pki.admin.key }
    for (const [name, path, options, status] of [
      ['a token', pods, bearer('admin-token'), 200],
      ['a wrong token', pods, bearer('guess'), 401],
      ['a token without rights', pods, bearer('weak-token'), 403],
      ['a token without rights, discovery', '/apis', bearer('weak-token'), 200],
      ['a client certificate', pods, certificate, 200],
      ['nothing', pods, {}, 403],
      ['nothing, discovery', '/api', {}, 403],
      ['nothing, health', '/readyz', {}, 200],
      ['nothing, version', '/version', {}, 200],
    ] as const) {
      const answer = await api.http('GET', path, options)
      assert.equal(answer.status, status, name)
      if (status >= 400) assert.equal(JSON.parse(answer.text).kind, 'Status', name)
    }
  })

  it('lets administrators act as somebody else, and nobody else do so', async () => {
    await using api = await listen()
    const as = (token: string): RequestOptions => ({
      headers: { authorization: `Bearer ${token}`, 'impersonate-user': 'joe', 'impersonate-group': 'team' },
    })
    const refused = await api.http('GET', pods, as('admin-token'))
    assert.match(JSON.parse(refused.text).message, /User "joe" cannot list resource/)
    assert.match((await api.http('GET', '/version', as('weak-token'))).text, /cannot impersonate/)
  })

  it('does not take who names groups without a user for themselves', async () => {
    await using api = await listen()
    const headers = { authorization: 'Bearer admin-token', 'impersonate-group': 'team' }
    assert.equal((await api.http('GET', pods, { headers })).status, 400)
  })

  it('does not believe a certificate of another authority', async () => {
    await using api = await listen()
    const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/O=system:masters/CN=admin']
    execFileSync('openssl', [...args, '-keyout', join(dir, 'other.key'), '-out', join(dir, 'other.crt')], {
      stdio: 'ignore',
    })
    const other = { key: readFileSync(join(dir, 'other.key')), cert: readFileSync(join(dir, 'other.crt')) }
    assert.equal((await api.http('GET', pods, other)).status, 401)
  })

  it('answers bodies that are too large and targets that are malformed, and goes on', async () => {
    await using api = await listen()
    const large = await api.http('POST', pods, bearer('admin-token'), `"${'x'.repeat(4 << 20)}"`)
    assert.deepEqual([large.status, JSON.parse(large.text).reason], [413, 'RequestEntityTooLarge'])
    assert.equal((await api.http('GET', '/api/%zz', bearer('admin-token'))).status, 400)
    assert.equal((await api.http('GET', '/version')).status, 200)
  })

  it('answers HEAD without a body', async () => {
    await using api = await listen()
    const { status, text, headers } = await api.http('HEAD', pods, bearer('admin-token'))
    assert.deepEqual([status, text], [200, ''])
    assert.ok(Number(headers['content-length']) > 0)
  })

  it('streams a watch as it happens and ends it when the server closes', async () => {
    const api = await listen()
    const { promise: done, resolve } = Promise.withResolvers<string>()
    const { promise: started, resolve: start } = Promise.withResolvers<void>()
    const { promise: seen, resolve: see } = Promise.withResolvers<void>()
    const path = `${pods}?watch=true&resourceVersion=${api.store.revision}`
    const options = {
      host: '127.0.0.1',
      port: api.port,
      ca: pki.ca,
      agent: false as const,
      path,
      ...bearer('admin-token'),
    }
    request(options, (incoming) => {
      let text = ''
      start()
      incoming.on('data', (chunk: Buffer) => {
        text += chunk.toString('utf8')
        if (text.split('\n').length > 3) see()
      })
      incoming.on('end', () => resolve(text))
    }).end()
    await started
    await Promise.all(['a', 'b', 'c'].map((name) => api.call('POST', pods, podNamed(name))))
    await seen
    await api[Symbol.asyncDispose]()
    const lines = (await done)
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    assert.deepEqual(
      lines.map(({ type, object }) => `${type} ${object.metadata.name}`),
      ['ADDED a', 'ADDED b', 'ADDED c'],
    )
  })

  it('says which port is taken', async () => {
    const blocker = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => blocker.once('listening', resolve))
    const { port } = blocker.address() as AddressInfo
    await using api = await startTestServer()
    await assert.rejects(api.server.listen({ port, tls }), {
      code: 'FAIRLEAD_CLUSTER_LISTEN',
      message: `Cannot listen on "127.0.0.1:${port}": the port is in use by another process`,
    })
    blocker.close()
  })
})
