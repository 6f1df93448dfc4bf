import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { gzipSync } from 'node:zlib'

import type { KubeObject } from '@fairlead/kube/types'
import type { Pod, Service } from '@fairlead/kube/types/core-v1'

import { podNamed, startTestServer } from '../test-server.ts'
import type { TestServer } from '../test-server.ts'
import { parseProxyName, podTarget, serviceTarget } from './target.ts'

const pods = '/api/v1/namespaces/default/pods'

/** A web server at an address of its own, as a pod without a network of its own has one. */
async function openBehind(): Promise<{ server: Server; port: number; seen: IncomingMessage[] }> {
  const seen: IncomingMessage[] = []
  const server = createServer((request, response) => {
    seen.push(request)
    if (request.url === '/page') {
      const type = { 'content-type': 'text/html; charset=utf-8', 'content-encoding': 'gzip' }
      return void response.writeHead(200, type).end(gzipSync('<a href="/there">there</a>'))
    }
    if (request.url === '/away') return void response.writeHead(302, { location: '/there?x=1' }).end()
    response.setHeader('x-own', 'yes')
    request.pipe(response)
    if (request.method === 'GET') response.end(`at ${request.url}`)
  })
  server.on('upgrade', (_request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n')
    socket.pipe(socket)
  })
  server.listen(0, '127.0.0.9')
  await once(server, 'listening')
  return { server, seen, port: (server.address() as AddressInfo).port }
}

async function createPod(api: TestServer, podIP: string): Promise<void> {
  await api.call('POST', pods, podNamed('web'))
  const status = { phase: 'Running', podIP }
  assert.equal((await api.call('PATCH', `${pods}/web/status`, { status })).status, 200)
}

describe('pods/proxy', () => {
  it('passes requests on without what proves who asks, and answers back', async () => {
    const { server, port, seen } = await openBehind()
    await using api = await startTestServer()
    await createPod(api, '127.0.0.9')
    const proxy = `${pods}/web:${port}/proxy`
    const got = await api.call('GET', `${proxy}/some/path?q=1`, undefined, {
      authorization: 'Bearer x',
      'x-mine': 'kept',
    })
    assert.deepEqual([got.status, got.body, got.headers['x-own']], [200, 'at /some/path?q=1', 'yes'])
    assert.equal(seen[0]?.headers['authorization'], undefined)
    assert.equal(seen[0]?.headers['x-mine'], 'kept')
    assert.equal((await api.call('PUT', `${proxy}/`, 'words')).body, 'words')
    assert.equal((await api.call('OPTIONS', `${proxy}/`, 'words')).body, 'words')
    const page = await api.call('GET', `${proxy}/page`)
    assert.deepEqual([page.body, page.headers['content-encoding']], [`<a href="${proxy}/there">there</a>`, undefined])
    assert.equal((await api.call('GET', `${proxy}/away`)).headers['location'], `${proxy}/there?x=1`)
    const bare = await api.call('GET', proxy)
    assert.deepEqual([bare.status, bare.headers['location']], [301, `${proxy}/`])
    server.close()
  })

  it('lets the protocol change', async () => {
    const { server, port } = await openBehind()
    await using api = await startTestServer()
    await createPod(api, '127.0.0.9')
    const headers = { connection: 'Upgrade', upgrade: 'echo' }
    const path = `${pods}/web:${port}/proxy/`
    const { status, connection } = await api.transport.send({ method: 'GET', path, headers, upgrade: true })
    assert.equal(status, 101)
    connection?.write('hello')
    assert.equal(String((await once(connection ?? process, 'data'))[0]), 'hello')
    connection?.destroy()
    server.close()
  })

  it('is not turned on this machine itself', async () => {
    await using api = await startTestServer()
    await createPod(api, '169.254.169.254')
    const { status, body } = await api.call('GET', `${pods}/web:80/proxy/`)
    assert.deepEqual([status, body.message], [400, 'address not allowed'])
  })
})

describe('nodes/proxy', () => {
  it('is answered by the agent', async () => {
    await using api = await startTestServer({
      kubelet: () =>
        Promise.resolve({
          fetch: ({ path }) => Promise.resolve({ status: 200, headers: {}, body: bytesOf(`asked ${path}`) }),
          openContainer: () => Promise.reject(new Error('nothing runs')),
          openPod: () => Promise.reject(new Error('nothing runs')),
        }),
    })
    await api.call('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' } })
    assert.equal((await api.call('GET', '/api/v1/nodes/n1/proxy/pods?x=1')).body, 'asked /pods?x=1')
  })
})

// oxlint-disable-next-line require-await -- an async generator is the shape of a body
async function* bytesOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text)
}

describe('parseProxyName', () => {
  const cases = [
    { text: 'web', expected: { scheme: 'http', name: 'web', port: '' } },
    { text: 'web:8080', expected: { scheme: 'http', name: 'web', port: '8080' } },
    { text: 'https:web:', expected: { scheme: 'https', name: 'web', port: '' } },
    { text: 'http:web:metrics', expected: { scheme: 'http', name: 'web', port: 'metrics' } },
  ]
  for (const { text, expected } of cases) it(`reads ${text}`, () => assert.deepEqual(parseProxyName(text), expected))
  it('refuses another scheme', () =>
    assert.throws(() => parseProxyName('ftp:web:21'), { message: /invalid pod request/ }))
})

describe('serviceTarget and podTarget', () => {
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 's' },
    spec: { ports: [{ name: 'web', port: 80 }] },
  } as KubeObject & Service
  const slices = [
    {
      addressType: 'IPv4',
      ports: [{ name: 'web', port: 8080 }],
      endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready: false } }, { addresses: ['10.0.0.2'] }],
    },
  ]
  it('takes a ready endpoint behind the port', () => {
    const expected = { scheme: 'http', host: '10.0.0.2', port: 8080 }
    for (const text of ['s', 's:80', 's:web'])
      assert.deepEqual(
        serviceTarget(service, slices, parseProxyName(text), () => 0),
        expected,
      )
    assert.throws(() => serviceTarget(service, [], parseProxyName('s')), { message: /no endpoints available/ })
  })
  it('takes the first port of a pod', () => {
    const containers = [{ name: 'a', image: 'a', ports: [{ name: 'm', containerPort: 9 }] }]
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {},
      spec: { containers },
      status: { podIP: '10.0.0.1' },
    } as KubeObject & Pod
    assert.equal(podTarget(pod, parseProxyName('p')).port, 9)
    assert.equal(podTarget(pod, parseProxyName('p:m')).port, 9)
    assert.throws(() => podTarget(pod, parseProxyName('p:none')), { message: /invalid port/ })
  })
})
