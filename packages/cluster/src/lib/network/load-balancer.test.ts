import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, createServer as createTcpServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { createKubeClient } from '@fairlead/kube'
import type { TransportRequest } from '@fairlead/kube'
import { applyMergePatch } from '@fairlead/kube/patch'
import type { Event, Service } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import { openLoadBalancer } from './load-balancer.ts'
import type { LoadBalancer } from './load-balancer.ts'
import { balancerAddress, decideStatus, isAllowedClient, shownAddress, wantedListeners } from './load-balancer-plan.ts'
import { createServiceTable } from './service-table.ts'
import { createMemorySource, eventually, makeService, makeSlice } from './testing.ts'

/** An API that knows Services and takes Events. */
function createApi(): {
  services: ReturnType<typeof createMemorySource<Service>>
  events: Event[]
  objects: Map<string, Service>
  client: ReturnType<typeof createKubeClient>
  put(service: Service): void
  get(name: string): Service
} {
  const services = createMemorySource<Service>()
  const objects = new Map<string, Service>()
  const events: Event[] = []
  const put = (service: Service): void => {
    objects.set(service.metadata?.name ?? '', service)
    services.put(service)
  }
  const get = (name: string): Service => {
    const service = objects.get(name)
    assert.ok(service)
    return service
  }
  async function send({
    method,
    path,
    body,
  }: TransportRequest): Promise<{ status: number; headers: Record<string, string>; body: AsyncIterable<Uint8Array> }> {
    const sent: unknown = JSON.parse(String(body))
    if (method === 'POST') events.push(sent as Event)
    const name = /services\/(\w+)\/status/.exec(path)?.[1]
    if (name !== undefined) put(applyMergePatch(get(name), sent) as Service)
    const bytes = Buffer.from(JSON.stringify(name === undefined ? sent : get(name)))
    return {
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: (async function* () {
        yield bytes
      })(),
    }
  }
  return { services, events, objects, client: createKubeClient({ transport: { send } }), put, get }
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

void describe('openLoadBalancer', () => {
  const api = createApi()
  const slices = createMemorySource<EndpointSlice>()
  const table = createServiceTable(api.services, slices)
  const web = createServer((_, response) => response.end('hello'))
  let balancer: LoadBalancer
  let target = 0

  before(async () => {
    web.listen(0, '127.0.0.1')
    await once(web, 'listening')
    target = (web.address() as AddressInfo).port
    balancer = openLoadBalancer({ client: api.client, table, onError: (error) => assert.ifError(error) })
  })
  after(async () => {
    table.close()
    await balancer.close()
    web.close()
    web.closeAllConnections()
  })

  const backends = (name: string, addresses: string[]): EndpointSlice =>
    makeSlice(name, [{ name: 'http', port: target, protocol: 'TCP' }], addresses)
  const statusOf = (name: string): Service['status'] => api.get(name).status
  const fetchText = async (port: number): Promise<string> =>
    (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })).text()

  void it('serves a Service on its port and writes the address to its status', async () => {
    const port = await freePort()
    api.put(makeService('web', { type: 'LoadBalancer', clusterIP: '10.80.0.2', ports: [{ name: 'http', port }] }))
    slices.put(backends('web', ['127.0.0.1']))
    await eventually(() => statusOf('web')?.loadBalancer?.ingress?.[0]?.ip === '127.0.0.1')
    assert.equal(await fetchText(port), 'hello')
  })

  void it('serves a node port', async () => {
    const nodePort = await freePort()
    api.put(
      makeService('node', { type: 'NodePort', clusterIP: '10.80.0.3', ports: [{ name: 'http', port: 80, nodePort }] }),
    )
    slices.put(backends('node', ['127.0.0.1']))
    assert.equal(await eventually(() => fetchText(nodePort)), 'hello')
    assert.equal(statusOf('node'), undefined)
  })

  void it('says on the Service that its port is in use, and takes it as soon as it is free', async () => {
    const other = createTcpServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    api.put(makeService('taken', { type: 'LoadBalancer', clusterIP: '10.80.0.4', ports: [{ name: 'http', port }] }))
    slices.put(backends('taken', ['127.0.0.1']))
    const event = await eventually(() => api.events.find(({ involvedObject }) => involvedObject.name === 'taken'))
    assert.equal(event.type, 'Warning')
    assert.equal(event.reason, 'SyncLoadBalancerFailed')
    assert.match(event.message ?? '', /another program uses the port; stop it, or change the port of the Service/)
    await eventually(() => statusOf('taken')?.conditions?.[0]?.type === 'LoadBalancerPortsError')
    assert.deepEqual(statusOf('taken')?.loadBalancer?.ingress, [])
    other.close()
    await eventually(() => statusOf('taken')?.loadBalancer?.ingress?.[0]?.ip === '127.0.0.1')
    assert.deepEqual(statusOf('taken')?.conditions, [])
    assert.equal(await fetchText(port), 'hello')
    assert.equal(api.events.filter(({ involvedObject }) => involvedObject.name === 'taken').length, 1)
  })

  void it('ends the connections to a Service that went with all others when it closes', async () => {
    const held = createTcpServer((socket) => void socket.on('error', () => {}).write('held')).listen(0, '127.0.0.1')
    await once(held, 'listening')
    const { port: end } = held.address() as AddressInfo
    const services = createMemorySource<Service>()
    const own = createServiceTable(
      services,
      createMemorySource([makeSlice('held', [{ name: 'tcp', port: end }], ['127.0.0.1'])]),
    )
    const second = openLoadBalancer({ client: api.client, table: own })
    const nodePort = await freePort()
    const service = makeService('held', {
      type: 'NodePort',
      clusterIP: '10.80.0.9',
      ports: [{ name: 'tcp', port: 80, nodePort }],
    })
    services.put(service)
    const client = await eventually(async () => {
      const socket = connect(nodePort, '127.0.0.1')
      await once(socket, 'data')
      return socket
    })
    client.on('error', () => {})
    services.delete(service)
    await eventually(() =>
      assert.rejects(once(connect(nodePort, '127.0.0.1'), 'connect'), { code: 'ECONNREFUSED' }).then(() => true),
    )
    const closed = once(client, 'close', { signal: AbortSignal.timeout(60_000) })
    await second.close()
    await closed
    own.close()
    held.close()
  })

  void it('stops listening when the Service goes, and frees the address of one that is no load balancer any more', async () => {
    const [port, second] = [await freePort(), await freePort()]
    api.put(makeService('short', { type: 'LoadBalancer', clusterIP: '10.80.0.5', ports: [{ name: 'http', port }] }))
    api.put(
      makeService('plain', { type: 'LoadBalancer', clusterIP: '10.80.0.6', ports: [{ name: 'http', port: second }] }),
    )
    await eventually(() => statusOf('plain')?.loadBalancer?.ingress?.[0]?.ip)
    api.services.delete(api.get('short'))
    api.put({
      ...api.get('plain'),
      spec: { type: 'ClusterIP', clusterIP: '10.80.0.6', ports: [{ name: 'http', port: second }] },
    })
    await eventually(() => statusOf('plain')?.loadBalancer?.ingress?.length === 0)
    for (const number of [port, second]) {
      await assert.rejects(once(connect(number, '127.0.0.1'), 'connect'), { code: 'ECONNREFUSED' })
    }
  })
})

const host = { listenAddress: '127.0.0.1', addresses: ['127.0.0.1', '192.0.2.5'] }

void describe('wantedListeners', () => {
  const at = (service: Service, creationTimestamp: string): Service => ({
    ...service,
    metadata: { ...service.metadata, creationTimestamp },
  })

  void it('gives a port two Services ask for to the older one', () => {
    const spec = { type: 'LoadBalancer', clusterIP: '10.80.0.2', ports: [{ port: 80 }] }
    const services = [
      at(makeService('a', spec), '2026-02-02T00:00:00Z'),
      at(makeService('b', spec), '2026-01-01T00:00:00Z'),
    ]
    const { entries } = createServiceTable(createMemorySource(services), createMemorySource<EndpointSlice>())
    assert.equal(wantedListeners(entries, host).get('127.0.0.1:80')?.service, 'shop/b')
  })

  void it('listens where a Service asks on loopback, and nowhere else', () => {
    const spec = (loadBalancerIP: string): Service['spec'] => ({
      type: 'LoadBalancer',
      clusterIP: '10.80.0.2',
      loadBalancerIP,
      ports: [{ port: 80 }],
    })
    const services = [makeService('a', spec('127.0.0.9') ?? {}), makeService('b', spec('192.0.2.1') ?? {})]
    const { entries } = createServiceTable(createMemorySource(services), createMemorySource<EndpointSlice>())
    assert.deepEqual([...wantedListeners(entries, host).keys()], ['127.0.0.9:80', '127.0.0.1:80'])
  })
})

void describe('balancerAddress', () => {
  const cases = [
    { asked: undefined, expected: '127.0.0.1', shown: '127.0.0.1' },
    { asked: '127.0.0.9', expected: '127.0.0.9', shown: '127.0.0.9' },
    { asked: '192.0.2.5', expected: '192.0.2.5', shown: '192.0.2.5' },
    { asked: '0.0.0.0', expected: '0.0.0.0', shown: '192.0.2.5' },
    { asked: '198.51.100.1', expected: '127.0.0.1', shown: '127.0.0.1' },
  ]
  for (const { asked, expected, shown } of cases) {
    void it(`is ${expected}, shown as ${shown}, when ${asked ?? 'nothing'} is asked for`, () => {
      const service = makeService('web', { type: 'LoadBalancer', loadBalancerIP: asked })
      const address = balancerAddress(service, host)
      assert.deepEqual([address, shownAddress(address, host)], [expected, shown])
    })
  }
})

void describe('isAllowedClient', () => {
  const cases = [
    { ranges: undefined, client: '192.0.2.1', expected: true },
    { ranges: [], client: '192.0.2.1', expected: true },
    { ranges: ['127.0.0.0/8', ' 192.0.2.0/25'], client: '::ffff:192.0.2.1', expected: true },
    { ranges: ['192.0.2.0/25'], client: '192.0.2.200', expected: false },
    { ranges: ['2001:db8::/32'], client: '192.0.2.1', expected: false },
  ]
  for (const { ranges, client, expected } of cases) {
    void it(`says ${expected} of ${client} for ${JSON.stringify(ranges)}`, () =>
      assert.equal(isAllowedClient(ranges, client), expected))
  }
})

void describe('decideStatus', () => {
  void it('leaves a Service of another implementation alone', () => {
    const service = makeService('a', {
      type: 'LoadBalancer',
      loadBalancerClass: 'example.com/lb',
      ports: [{ port: 80 }],
    })
    assert.equal(
      decideStatus({ ...service, status: { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } } }, [], '127.0.0.1'),
      undefined,
    )
  })
})
