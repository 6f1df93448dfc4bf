import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { createManualClock } from '../resilience/clock.ts'
import { createKubernetesSource } from './kubernetes.ts'
import type { KubernetesSourceOptions } from './kubernetes.ts'
import { eventually } from './source.fixture.ts'

interface FakeApi extends AsyncDisposable {
  readonly url: string
  readonly lists: URL[]
  readonly watches: { readonly url: URL; readonly response: ServerResponse }[]
  items: object[]
  version: number
  failing: number | undefined
  authorization: string | undefined
}

const slice = (name: string, version: number, ...addresses: readonly string[]): object => ({
  metadata: { name, resourceVersion: String(version) },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080 }],
  endpoints: addresses.map((address) => ({ addresses: [address] })),
})

/** Lists in pages of two, and watches that a test writes to. */
async function startFakeApi(): Promise<FakeApi> {
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://k8s')
    api.authorization = request.headers.authorization
    if (api.failing !== undefined) {
      response.writeHead(api.failing, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ kind: 'Status', message: 'endpointslices is forbidden' }))
    } else if (url.pathname.includes('/services/')) {
      response.end(JSON.stringify({ spec: { ports: [{ name: 'http', port: 80, targetPort: 8080 }] } }))
    } else if (url.searchParams.has('watch')) {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.flushHeaders()
      api.watches.push({ url, response })
    } else {
      api.lists.push(url)
      const from = Number(url.searchParams.get('continue') ?? 0)
      const next = from + 2 < api.items.length ? String(from + 2) : undefined
      const metadata = { resourceVersion: String(api.version), continue: next }
      response.end(JSON.stringify({ metadata, items: api.items.slice(from, from + 2) }))
    }
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const api: FakeApi = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    lists: [],
    watches: [],
    items: [],
    version: 5,
    failing: undefined,
    authorization: undefined,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return api
}

interface Heard extends Disposable {
  readonly snapshots: string[][]
  readonly errors: Error[]
}

function listen(api: FakeApi, options: KubernetesSourceOptions = {}, port: string = 'http'): Heard {
  const heard = { snapshots: [] as string[][], errors: [] as Error[] }
  const source = createKubernetesSource(
    { namespace: 'shop', service: 'orders', port },
    { server: api.url, env: {}, ...options },
  )
  const subscription = source.subscribe({
    snapshot: (endpoints) => void heard.snapshots.push(endpoints.map(({ host }) => host)),
    error: (error) => void heard.errors.push(error as Error),
  })
  return { ...heard, [Symbol.dispose]: () => subscription.close() }
}

const send = (api: FakeApi, type: string, object: object): void =>
  void api.watches.at(-1)?.response.write(`${JSON.stringify({ type, object })}\n`)

describe('createKubernetesSource', () => {
  it('lists in pages, then follows the watch', async () => {
    await using api = await startFakeApi()
    api.items = [slice('a', 1, '10.0.0.1'), slice('b', 2, '10.0.0.2'), slice('c', 3, '10.0.0.3')]
    using heard = listen(api, { token: 'planted-token' })
    await eventually('a watch', () => api.watches.length === 1)
    assert.deepEqual(heard.snapshots, [['10.0.0.1', '10.0.0.2', '10.0.0.3']])
    assert.equal(api.authorization, 'Bearer planted-token')
    assert.equal(api.lists[0]?.searchParams.get('labelSelector'), 'kubernetes.io/service-name=orders')
    const query = api.watches[0]?.url.searchParams
    assert.deepEqual([query?.get('resourceVersion'), query?.get('allowWatchBookmarks')], ['5', 'true'])
    send(api, 'MODIFIED', slice('b', 6, '10.0.0.2', '10.0.0.4'))
    await eventually('a change', () => heard.snapshots.length === 2)
    send(api, 'DELETED', slice('a', 7))
    await eventually('another', () => heard.snapshots.length === 3)
    assert.deepEqual(heard.snapshots[2]?.toSorted(), ['10.0.0.2', '10.0.0.3', '10.0.0.4'])
  })

  it('goes on from the last bookmark when a watch ends', async () => {
    await using api = await startFakeApi()
    const clock = createManualClock()
    api.items = [slice('a', 1, '10.0.0.1')]
    using heard = listen(api, { clock })
    await eventually('a watch', () => api.watches.length === 1)
    send(api, 'BOOKMARK', { metadata: { resourceVersion: '77' } })
    api.watches[0]?.response.end()
    await eventually('another watch', async () => {
      await clock.advance(100)
      return api.watches.length === 2
    })
    assert.equal(api.watches[1]?.url.searchParams.get('resourceVersion'), '77')
    assert.equal(api.lists.length, 1)
    api.watches[1]?.response.destroy()
    await eventually('a third watch', async () => {
      await clock.advance(100)
      return api.watches.length === 3
    })
    assert.equal(api.lists.length, 1)
    assert.equal(heard.snapshots.length, 1)
    assert.equal(heard.errors.length, 1, 'a connection that was cut is told')
  })

  it('lists again when what it watches from is gone, and keeps what it has meanwhile', async () => {
    await using api = await startFakeApi()
    const clock = createManualClock()
    api.items = [slice('a', 1, '10.0.0.1')]
    using heard = listen(api, { clock })
    await eventually('a watch', () => api.watches.length === 1)
    api.items = [slice('z', 9, '10.0.0.9')]
    api.version = 99
    send(api, 'ERROR', { kind: 'Status', code: 410, reason: 'Expired' })
    api.watches[0]?.response.end()
    await eventually('another watch', async () => {
      await clock.advance(1)
      return api.watches.length === 2
    })
    assert.deepEqual(heard.snapshots, [['10.0.0.1'], ['10.0.0.9']])
    assert.equal(api.watches[1]?.url.searchParams.get('resourceVersion'), '99')
    assert.deepEqual(heard.errors, [])
  })

  it('finds a port of the Service by its number', async () => {
    await using api = await startFakeApi()
    api.items = [slice('a', 1, '10.0.0.1')]
    using heard = listen(api, {}, '80')
    await eventually('a snapshot', () => heard.snapshots.length === 1)
    assert.deepEqual(heard.snapshots, [['10.0.0.1']])
  })

  it('says what permission is missing', async () => {
    await using api = await startFakeApi()
    api.failing = 403
    using heard = listen(api)
    await eventually('an error', () => heard.errors.length === 1)
    assert.match(heard.errors[0]?.message ?? '', /answered 403: endpointslices is forbidden/)
    assert.match((heard.errors[0] as Error & { hint: string }).hint, /"list" and "watch"/)
  })

  it('says that it is not in a pod', async () => {
    await using api = await startFakeApi()
    using heard = listen(api, { server: undefined, token: 'x', ca: 'x' })
    await eventually('an error', () => heard.errors.length === 1)
    assert.match(heard.errors[0]?.message ?? '', /KUBERNETES_SERVICE_HOST is not set/)
  })

  it('leaves no connection behind when it is closed', async () => {
    await using api = await startFakeApi()
    const heard = listen(api)
    await eventually('a watch', () => api.watches.length === 1)
    const ended = new Promise((resolve) => void api.watches[0]?.response.once('close', resolve))
    heard[Symbol.dispose]()
    await ended
    assert.deepEqual(heard.errors, [])
  })
})
