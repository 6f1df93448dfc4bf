import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { createKubeClient } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { NetworkPolicySpec } from '@fairlead/kube/types/networking-v1'
import { createApiServer } from '../apiserver/server.ts'
import type { ApiServer } from '../apiserver/server.ts'
import { openPodNetwork } from '../network/pod-network.ts'
import type { PodAttachment, PodNetwork } from '../network/pod-network.ts'
import { openServiceNetwork } from '../network/service-network.ts'
import type { ServiceNetwork } from '../network/service-network.ts'
import { eventually, makeService, makeSlice, startNode } from '../network/testing.ts'
import type { Program } from '../network/testing.ts'
import { openStore } from '../storage/store.ts'
import type { Store } from '../storage/store.ts'
import { openGateway } from './gateway.ts'
import type { Gateway } from './gateway.ts'

const isRoot = process.platform === 'linux' && process.getuid?.() === 0
if (!isRoot && process.env['CI'] === 'true') throw new Error('Cannot run the network tests: they need root on Linux')
const skip = isRoot ? false : 'network namespaces need root on Linux'

const server = (name: string): string => `
  import { createServer } from 'node:http'
  createServer((request, response) => response.end('${name}')).listen(8080, () => console.log('listening'))`
/** Prints the status, the body, which tells why there is no answer of an endpoint, and whether the gateway was on the way. */
const client = (url: string, patienceMs: number): string => `
  import { get } from 'node:http'
  get('${url}', { agent: false, timeout: ${patienceMs} }, async (answer) => {
    const text = (await answer.toArray()).join('')
    console.log(answer.statusCode, text, answer.headers['x-route'] ?? '')
  }).on('timeout', function () { this.destroy(new Error('timeout')) }).on('error', ({ code }) => console.log(code ?? 'timeout'))`

void describe('gateway under NetworkPolicies', { skip }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-gateway-'))
  const errors: unknown[] = []
  const programs: Program[] = []
  const places = new Map<string, PodAttachment>()
  let store: Store
  let api: ApiServer
  let kube: KubeClient
  let network: PodNetwork
  let services: ServiceNetwork
  let gateway: Gateway
  let balanced: { routed: number; plain: number }

  before(async () => {
    const onError = (error: unknown): void => void errors.push(error)
    network = await openPodNetwork({ dir, mode: 'namespaces' })
    store = await openStore({ dir: '', durability: 'memory' })
    api = createApiServer({ store, serviceCidr: network.plan.serviceCidr })
    kube = createKubeClient({ transport: api.transport({ user: 'test', groups: ['system:masters'] }) })
    services = await openServiceNetwork({ client: kube, network, dir, nameServers: [], onError })
    gateway = await openGateway({
      client: kube,
      meshHost: network.gateway,
      redirect: (redirects) => services.redirect(redirects),
      access: services.passages,
      onError,
    })
    await kube.resource('v1/Namespace').create({ metadata: { name: 'shop' } })
    for (const name of ['web', 'other', 'db']) await addPod(name)
    balanced = { routed: await freePort(), plain: await freePort() }
    await addService('routed', balanced.routed)
    await addService('plain', balanced.plain)
    const filter = {
      type: 'ResponseHeaderModifier',
      responseHeaderModifier: { set: [{ name: 'x-route', value: 'db' }] },
    }
    const route = {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name: 'db' },
      spec: {
        parentRefs: [{ group: '', kind: 'Service', name: 'routed' }],
        rules: [{ filters: [filter], backendRefs: [{ name: 'routed', port: balanced.routed }] }],
      },
    }
    await kube.object(route.apiVersion, route.kind).create(route, { namespace: 'shop' })
    await eventually(async () => (await ask('web', 'routed')) === '200 db db', 30_000)
  })

  after(async () => {
    await gateway?.close()
    for (const program of programs) await program[Symbol.asyncDispose]()
    await services?.close()
    await network?.close({ remove: true })
    await api?.close()
    await store?.close()
    rmSync(dir, { recursive: true })
    assert.deepEqual(errors, [])
  })

  afterEach(async () => {
    const policies = kube.resource('networking.k8s.io/v1/NetworkPolicy')
    for (const { metadata } of (await policies.list({ namespace: 'shop' })).items)
      await policies.delete(metadata?.name ?? '', { namespace: 'shop' })
    await eventually(() => services.passages.permissionOf('') === undefined, 30_000)
  })

  async function addPod(name: string): Promise<void> {
    const created = await kube.resource('v1/Pod').create(
      {
        metadata: { name, namespace: 'shop', labels: { app: name } },
        spec: { containers: [{ name: 'main', image: 'none', ports: [{ name: 'http', containerPort: 8080 }] }] },
      },
      { namespace: 'shop' },
    )
    const place = await services.pods.attach({ uid: created.metadata?.uid ?? '', namespace: 'shop', name })
    places.set(name, place)
    const program = startNode(server(name), { netnsPath: place.netnsPath })
    programs.push(program)
    await eventually(() => program.output.includes('listening'), 30_000)
  }

  async function addService(name: string, port: number): Promise<void> {
    const spec = { type: 'LoadBalancer', ports: [{ name: 'http', port, targetPort: 8080 }] }
    await kube.resource('v1/Service').create(makeService(name, spec), { namespace: 'shop' })
    const endpoint = { addresses: [places.get('db')?.ip ?? ''], targetRef: { kind: 'Pod', name: 'db' } }
    const slice = makeSlice(name, [{ name: 'http', port: 8080, protocol: 'TCP' }], [endpoint])
    await kube.resource('discovery.k8s.io/v1/EndpointSlice').create(slice, { namespace: 'shop' })
  }

  /** What a pod, or the host, is told by a Service at its own address. */
  async function ask(from: string, service: 'routed' | 'plain', patienceMs?: number): Promise<string> {
    const { spec } = await kube.resource('v1/Service').get(service, { namespace: 'shop' })
    return await fetchFrom(from, `http://${spec?.clusterIP}:${balanced[service]}/`, patienceMs)
  }

  /** There is time for an answer on a busy machine too; whoever expects none gives less. */
  async function fetchFrom(from: string, url: string, patienceMs = 30_000): Promise<string> {
    return (await startNode(client(url, patienceMs), { netnsPath: places.get(from)?.netnsPath }).ended).trim()
  }

  async function apply(name: string, spec: NetworkPolicySpec): Promise<void> {
    const facts = services.passages.permissionOf('')
    await kube
      .resource('networking.k8s.io/v1/NetworkPolicy')
      .create({ metadata: { name }, spec }, { namespace: 'shop' })
    await eventually(() => services.passages.permissionOf('') !== facts, 30_000)
    await services.settled()
  }

  const forbidden = /^503 no endpoint of .+ may be reached from here by the NetworkPolicies of the cluster/
  const app = (name: string): { podSelector: { matchLabels: { app: string } } } => ({
    podSelector: { matchLabels: { app: name } },
  })

  void it('lets callers have the endpoints that ingress policies let them have', async () => {
    await apply('in', { ...app('db'), ingress: [{ from: [app('web')], ports: [{ port: 'http' }] }] })
    assert.equal(await ask('web', 'routed'), '200 db db')
    assert.equal(await ask('web', 'plain'), '200 db')
    assert.match(await ask('other', 'routed'), forbidden)
    assert.equal(await ask('other', 'plain', 2_000), 'timeout')
    assert.equal(await ask('host', 'routed'), '200 db db')
  })

  void it('lets callers have the endpoints that egress policies let them have, and reach nothing else of the node', async () => {
    await apply('out', { ...app('web'), policyTypes: ['Egress'] })
    assert.match(await ask('web', 'routed'), forbidden)
    assert.equal(await ask('other', 'routed'), '200 db db')
    assert.equal(await fetchFrom('web', `http://${network.gateway}:${services.dns.port}/`, 2_000), 'timeout')
    await apply('more', {
      ...app('web'),
      policyTypes: ['Egress'],
      egress: [{ to: [app('db')], ports: [{ port: 8080 }] }],
    })
    assert.equal(await ask('web', 'routed'), '200 db db')
  })

  void it('takes what comes through a load balancer for what comes from outside of the cluster', async () => {
    const north = async (): Promise<string[]> => [
      await fetchFrom('host', `http://127.0.0.1:${balanced.routed}/`),
      await fetchFrom('host', `http://127.0.0.1:${balanced.plain}/`),
    ]
    assert.deepEqual(await north(), ['200 db db', '200 db'])
    await apply('in', { ...app('db'), ingress: [{ from: [{ namespaceSelector: {} }] }] })
    const [routed = '', plain] = await north()
    assert.match(routed, forbidden)
    assert.equal(plain, 'ECONNRESET')
    await apply('outside', { ...app('db'), ingress: [{ from: [{ ipBlock: { cidr: '127.0.0.0/8' } }] }] })
    assert.deepEqual(await north(), ['200 db db', '200 db'])
  })
})

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => probe.once('listening', resolve))
  const { port } = probe.address() as AddressInfo
  await new Promise((resolve) => probe.close(resolve))
  return port
}
