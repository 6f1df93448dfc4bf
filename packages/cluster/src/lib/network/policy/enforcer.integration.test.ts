import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { createKubeClient } from '@fairlead/kube'
import type { KubeClient } from '@fairlead/kube'
import type { NetworkPolicySpec } from '@fairlead/kube/types/networking-v1'
import { createApiServer } from '../../apiserver/server.ts'
import type { ApiServer } from '../../apiserver/server.ts'
import { openStore } from '../../storage/store.ts'
import type { Store } from '../../storage/store.ts'
import { toolEnvironment } from '../command.ts'
import { policyTableName } from '../plan.ts'
import { openPodNetwork } from '../pod-network.ts'
import type { PodAttachment, PodNetwork } from '../pod-network.ts'
import { openServiceNetwork } from '../service-network.ts'
import type { ServiceNetwork } from '../service-network.ts'
import { eventually, startNode } from '../testing.ts'
import type { Program } from '../testing.ts'
import { shortHash } from '../short-hash.ts'

const skip = skipReason()

function skipReason(): string | false {
  if (process.platform === 'linux' && process.getuid?.() === 0) return false
  if (process.env['CI'] === 'true') throw new Error('Cannot run the network tests: they need root on Linux')
  return 'network namespaces need root on Linux'
}

/** TCP on 80 and 81, UDP on 80; sends one datagram or connects once for each line it is told, and says how that went in the time it is given. */
const program = `
  import { createSocket } from 'node:dgram'
  import { connect, createServer } from 'node:net'
  import { createInterface } from 'node:readline'
  for (const port of [80, 81]) createServer((socket) => socket.on('error', () => {}).end('hello')).listen(port)
  const udp = createSocket('udp4', (message, { address, port }) => udp.send(message, port, address)).bind(80)
  const ways = {
    tcp: (host, port, timeout) => new Promise((done) => {
      const socket = connect({ host, port, timeout })
      socket.on('data', () => done('reached')).on('timeout', () => done('timeout')).on('error', ({ code }) => done(code))
        .on('close', () => done('closed'))
    }),
    udp: (host, port, timeout) => new Promise((done) => {
      const socket = createSocket('udp4', () => done('reached')).on('error', () => {})
      setTimeout(() => done('timeout'), timeout)
      socket.send('hello', port, host)
    }),
  }
  createInterface(process.stdin).on('line', async (line) => {
    const [id, protocol, host, port, timeout] = line.split(' ')
    console.log(id + ' ' + await ways[protocol](host, Number(port), Number(timeout)))
  })
  setTimeout(() => console.log('listening'), 0)`

interface TestPod {
  readonly name: string
  readonly place: PodAttachment
  readonly program: Program
}

type Way = [from: string, to: string, protocol?: string, port?: number]

interface Probe {
  readonly from: string
  readonly to: string
  readonly protocol: string | undefined
  readonly port: number | undefined
  readonly patienceMs: number
}

void describe('openPolicyEnforcer', { skip }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-policies-'))
  const errors: unknown[] = []
  const pods: TestPod[] = []
  let store: Store
  let api: ApiServer
  let kube: KubeClient
  let network: PodNetwork
  let services: ServiceNetwork
  let probes = 0

  before(async () => {
    network = await openPodNetwork({ dir, mode: 'namespaces' })
    store = await openStore({ dir: '', durability: 'memory' })
    api = createApiServer({ store, serviceCidr: network.plan.serviceCidr })
    kube = createKubeClient({ transport: api.transport({ user: 'test', groups: ['system:masters'] }) })
    services = await openNetwork()
    for (const [name, team] of [
      ['shop', 'a'],
      ['blog', 'b'],
    ] as const)
      await kube.resource('v1/Namespace').create({ metadata: { name, labels: { team } } })
    for (const name of ['shop/web', 'shop/db', 'blog/web']) await addPod(name)
  })

  after(async () => {
    for (const pod of pods) await pod.program[Symbol.asyncDispose]()
    await services?.close()
    await network?.close({ remove: true })
    await api?.close()
    await store?.close()
    rmSync(dir, { recursive: true })
    assert.deepEqual(errors, [])
    assert.ok(!nft('list', 'tables').includes(network.plan.id))
  })

  afterEach(async () => {
    const policies = kube.resource('networking.k8s.io/v1/NetworkPolicy')
    for (const { metadata } of (await policies.list({ allNamespaces: true })).items)
      await policies.delete(metadata?.name ?? '', { namespace: metadata?.namespace })
    await eventually(() => !nft('list', 'tables').includes(policyTableName(network.plan)))
  })

  function openNetwork(): Promise<ServiceNetwork> {
    const onError = (error: unknown): void => void errors.push(error)
    return openServiceNetwork({ client: kube, network, dir, nameServers: [], onError })
  }

  function nft(...args: string[]): string {
    return execFileSync('nft', args, { env: toolEnvironment(), stdio: ['ignore', 'pipe', 'ignore'] }).toString()
  }

  async function addPod(path: string, labels: Record<string, string> = {}): Promise<TestPod> {
    const [namespace = '', name = ''] = path.split('/')
    const ports = [{ name: 'http', containerPort: 80 }]
    const created = await kube.resource('v1/Pod').create(
      {
        metadata: { name, namespace, labels: { app: name, ...labels } },
        spec: { containers: [{ name: 'main', image: 'none', ports }] },
      },
      { namespace },
    )
    const place = await services.pods.attach({ uid: created.metadata?.uid ?? '', namespace, name })
    const pod = { name: path, place, program: startNode(program, { netnsPath: place.netnsPath, stdin: true }) }
    pods.push(pod)
    await eventually(() => pod.program.output.includes('listening'), 30_000)
    return pod
  }

  function podOf(name: string): TestPod {
    const pod = pods.find((candidate) => candidate.name === name)
    assert.ok(pod)
    return pod
  }

  /** What comes of it, for which there is time on a busy machine too. */
  function reach(...[from, to, protocol, port]: Way): Promise<string> {
    return probe({ from, to, protocol, port, patienceMs: 20_000 })
  }

  /** As {@link reach}, for what is expected not to answer, or is asked again. */
  function reachSoon(...[from, to, protocol, port]: Way): Promise<string> {
    return probe({ from, to, protocol, port, patienceMs: 400 })
  }

  async function probe({ from, to, protocol = 'tcp', port = 80, patienceMs }: Probe): Promise<string> {
    const id = `probe${probes++}`
    const { program: client } = podOf(from)
    const host = to.includes('/') ? podOf(to).place.ip : to
    client.write(`${id} ${protocol} ${host} ${port} ${patienceMs}\n`)
    return await eventually(() => new RegExp(`^${id} (.+)$`, 'm').exec(client.output)?.[1], 30_000)
  }

  async function apply(namespace: string, name: string, spec: NetworkPolicySpec): Promise<void> {
    const policies = kube.resource('networking.k8s.io/v1/NetworkPolicy')
    await policies.create({ metadata: { name }, spec }, { namespace })
    const rules = (): string => nft('list', 'table', 'ip', policyTableName(network.plan))
    await eventually(() => rules().includes(`-${shortHash(`${namespace}/${name}`)} {`))
  }

  const app = (name: string): { matchLabels: { app: string } } => ({ matchLabels: { app: name } })

  void it('leaves everything open while there are no policies', async () => {
    assert.equal(await reach('blog/web', 'shop/db'), 'reached')
    assert.equal(await reach('blog/web', 'shop/db', 'udp'), 'reached')
  })

  void it('lets nothing in but the node, and lets replies to what a pod itself began through', async () => {
    await apply('shop', 'deny', { podSelector: {} })
    assert.equal(await reachSoon('blog/web', 'shop/db'), 'timeout')
    assert.equal(await reachSoon('blog/web', 'shop/db', 'udp'), 'timeout')
    assert.equal(await reachSoon('shop/web', 'shop/db'), 'timeout')
    assert.equal(await reach('shop/db', 'blog/web'), 'reached')
    assert.equal(await reach('shop/db', 'blog/web', 'udp'), 'reached')
    const neighbour = `
      import { connect } from 'node:net'
      connect({ host: '${podOf('shop/db').place.ip}', port: 80 }).on('data', (text) => console.log(String(text)))`
    assert.equal(await startNode(neighbour).ended, 'hello\n')
  })

  void it('keeps a pod from everything but what an egress rule allows, names among it', async () => {
    await apply('shop', 'out', {
      podSelector: app('web'),
      policyTypes: ['Egress'],
      egress: [{ to: [{ podSelector: app('db') }], ports: [{ port: 'http' }] }],
    })
    assert.equal(await reach('shop/web', 'shop/db'), 'reached')
    assert.equal(await reachSoon('shop/web', 'shop/db', 'tcp', 81), 'timeout')
    assert.equal(await reachSoon('shop/web', 'blog/web'), 'timeout')
    assert.equal(await reachSoon('shop/web', services.nameServer, 'tcp', 53), 'timeout')
    assert.equal(await reachSoon('shop/web', network.gateway, 'tcp', services.dns.port), 'timeout')
    assert.equal(await reach('blog/web', 'shop/web'), 'reached')
    await apply('shop', 'names', { podSelector: {}, policyTypes: ['Egress'], egress: [{ ports: [{ port: 53 }] }] })
    assert.notEqual(await reachSoon('shop/web', services.nameServer, 'tcp', 53), 'ECONNREFUSED')
    assert.equal(await reach('shop/web', 'shop/db'), 'reached')
    assert.equal(await reachSoon('shop/db', 'shop/web'), 'timeout')
  })

  void it('tells peers by namespaces, labels, address blocks and ports, as the union of all policies', async () => {
    await apply('shop', 'team', {
      podSelector: app('db'),
      ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: 'b' } } }], ports: [{ port: 80, endPort: 81 }] }],
    })
    assert.equal(await reach('blog/web', 'shop/db', 'tcp', 81), 'reached')
    assert.equal(await reachSoon('blog/web', 'shop/db', 'udp', 80), 'timeout')
    assert.equal(await reachSoon('shop/web', 'shop/db'), 'timeout')
    const { ip } = podOf('blog/web').place
    const ipBlock = { cidr: network.plan.podCidr, except: [`${ip}/32`] }
    await apply('shop', 'block', {
      podSelector: app('db'),
      ingress: [{ from: [{ ipBlock }], ports: [{ protocol: 'UDP' }] }],
    })
    assert.equal(await reach('shop/web', 'shop/db', 'udp'), 'reached')
    assert.equal(await reachSoon('blog/web', 'shop/db', 'udp'), 'timeout')
    assert.equal(await reachSoon('shop/web', 'shop/db'), 'timeout')
  })

  void it('follows labels of pods and namespaces', async () => {
    await apply('shop', 'friends', {
      podSelector: app('db'),
      ingress: [
        {
          from: [
            { namespaceSelector: { matchLabels: { team: 'c' } }, podSelector: { matchLabels: { friend: 'yes' } } },
          ],
        },
      ],
    })
    assert.equal(await reachSoon('blog/web', 'shop/db'), 'timeout')
    const label = (labels: Record<string, string | null>): object => ({ metadata: { labels } })
    await kube.resource('v1/Pod').patch('web', { type: 'merge', body: label({ friend: 'yes' }) }, { namespace: 'blog' })
    await kube.resource('v1/Namespace').patch('blog', { type: 'merge', body: label({ team: 'c' }) })
    await eventually(async () => (await reachSoon('blog/web', 'shop/db')) === 'reached')
    await kube.resource('v1/Namespace').patch('blog', { type: 'merge', body: label({ team: 'b' }) })
    await eventually(async () => (await reachSoon('blog/web', 'shop/db')) === 'timeout')
  })

  void it('has the rules of a pod in force before the pod has its place', async () => {
    const values = ['db', 'late']
    await apply('shop', 'deny', { podSelector: { matchExpressions: [{ key: 'app', operator: 'In', values }] } })
    const late = await addPod('shop/late')
    assert.match(
      nft('list', 'map', 'ip', policyTableName(network.plan), 'ingress'),
      new RegExp(`${late.place.ip} : goto`),
    )
    assert.equal(await reachSoon('shop/web', 'shop/late'), 'timeout')
  })

  void it('goes on where an earlier process stopped', async () => {
    await apply('shop', 'deny', { podSelector: app('db') })
    await services.close()
    assert.equal(await reachSoon('shop/web', 'shop/db'), 'timeout')
    services = await openNetwork()
    for (const { name, place } of pods) {
      const [namespace = '', pod = ''] = name.split('/')
      const { metadata } = await kube.resource('v1/Pod').get(pod, { namespace })
      assert.deepEqual(await services.pods.attach({ uid: metadata?.uid ?? '', namespace, name: pod }), place)
    }
    assert.equal(await reachSoon('shop/web', 'shop/db'), 'timeout')
    await kube.resource('networking.k8s.io/v1/NetworkPolicy').delete('deny', { namespace: 'shop' })
    await eventually(async () => (await reachSoon('shop/web', 'shop/db')) === 'reached')
  })
})
