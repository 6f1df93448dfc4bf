import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Service } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import { addressAt, parseCidr } from './cidr.ts'
import { toolEnvironment } from './command.ts'
import { lastWill } from './lease.ts'
import { tableName } from './plan.ts'
import { openPodNetwork } from './pod-network.ts'
import type { PodAttachment, PodNetwork } from './pod-network.ts'
import { leaseSet } from './rules.ts'
import { openServiceProxy } from './service-proxy.ts'
import type { ServiceProxy } from './service-proxy.ts'
import { createServiceTable } from './service-table.ts'
import { createMemorySource, eventually, makeService, makeSlice, startNode } from './testing.ts'
import type { Program } from './testing.ts'

const isRoot = process.platform === 'linux' && process.getuid?.() === 0
if (!isRoot && process.env['CI'] === 'true') throw new Error('Cannot run the network tests: they need root on Linux')
const skip = isRoot ? false : 'network namespaces need root on Linux'

const endpoint = `
  import { createServer } from 'node:net'
  createServer((socket) => socket.on('error', () => {}).end('endpoint')).listen(80, () => console.log('listening'))`
const client = (host: string, localPort = 0): string => `
  import { connect } from 'node:net'
  console.log('asking')
  connect({ host: '${host}', port: 8080, localPort: ${localPort} }).on('data', (text) => console.log(String(text))).on('error', ({ code }) => console.log(code))`

const namesPort = 10_999
const names = { key: 'kube-system/names/dns/udp', protocol: 'udp' as const, port: 53, isOwn: true }
/** Asks again as resolvers do; says how often it was told that nobody is there. */
const question = (host: string): string => `
  import { createSocket } from 'node:dgram'
  let refused = 0
  const socket = createSocket('udp4', (text) => (console.log(String(text), refused), process.exit()))
  socket.on('error', () => refused++).connect(53, '${host}', () => {
    socket.send('x', () => console.log('asked'))
    setInterval(() => socket.send('x'), 100)
  })`

void describe('a redirection of connections', { skip }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-lease-'))
  const programs: Program[] = []
  const services = createMemorySource<Service>()
  const slices = createMemorySource<EndpointSlice>()
  const table = createServiceTable(services, slices)
  let network: PodNetwork
  let proxy: ServiceProxy
  let [a, b]: PodAttachment[] = []
  let clusterIP = ''
  let gateway: Server

  before(async () => {
    network = await openPodNetwork({ dir, mode: 'namespaces' })
    const range = parseCidr(network.plan.serviceCidr)
    assert.ok(range)
    clusterIP = addressAt(range, 20)
    ;[a, b] = await Promise.all(['a', 'b'].map((name) => network.attach({ uid: name, namespace: 'shop', name })))
    proxy = await openServiceProxy({
      plan: network.plan,
      table,
      fixed: [{ ...names, addresses: [addressAt(range, 10)], backends: [{ ip: network.gateway, port: namesPort }] }],
      onError: (error) => assert.ifError(error),
    })
    programs.push(startNode(endpoint, { netnsPath: b?.netnsPath }))
    await eventually(() => programs[0]?.output.includes('listening'), 30_000)
    services.put(makeService('web', { clusterIP, ports: [{ name: 'http', port: 8080, protocol: 'TCP' }] }))
    slices.put(makeSlice('web', [{ name: 'http', port: 80, protocol: 'TCP' }], [b?.ip ?? '']))
    await proxy.settled()
    gateway = createServer((socket) => socket.on('error', () => {}).end('gateway')).listen(0, network.gateway)
    await once(gateway, 'listening')
  })

  after(async () => {
    gateway?.close()
    for (const program of programs) await program[Symbol.asyncDispose]()
    table.close()
    await proxy?.close()
    await network?.close({ remove: true })
    rmSync(dir, { recursive: true })
  })

  const nft = (...args: string[]): string => execFileSync('nft', args, { encoding: 'utf8', env: toolEnvironment() })
  const set = (): string[] => ['set', 'ip', tableName(network.plan), leaseSet]
  const hasLease = (): boolean => nft('list', ...set()).includes('elements')
  const conntrack = (...args: string[]): string =>
    execFileSync('conntrack', [...args, ...lastWill(network.plan).flows], {
      encoding: 'utf8',
      env: toolEnvironment(),
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  const asked = (pod: PodAttachment | undefined): Program => startNode(client(clusterIP), { netnsPath: pod?.netnsPath })

  async function heard(): Promise<string[]> {
    const outputs = await Promise.all([a, undefined].map((pod) => asked(pod).ended))
    return outputs.map((text) => text.replace('asking', '').trim())
  }

  async function redirect(isOn: boolean): Promise<void> {
    const address = gateway.address()
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0
    table.redirect(isOn ? new Map([['shop/web/8080', { ip: network.gateway, port }]]) : new Map())
    await proxy.settled()
  }

  void it('holds for pods and the host while it is wanted, and leaves nothing behind', async () => {
    assert.deepEqual(await heard(), ['endpoint', 'endpoint'])
    await redirect(true)
    assert.deepEqual(await heard(), ['gateway', 'gateway'])
    await redirect(false)
    assert.deepEqual(await heard(), ['endpoint', 'endpoint'])
    assert.equal(hasLease(), false)
  })

  void it('is over for pods and the host when the lease is, without a word to them', async () => {
    await redirect(true)
    nft('flush', ...set())
    assert.deepEqual(await heard(), ['endpoint', 'endpoint'])
    await redirect(false)
  })

  void it('refuses no pod that asks in the moment in which the gateway is gone and its lease is not', async () => {
    await redirect(true)
    const { port } = gateway.address() as { port: number }
    gateway.close()
    await once(gateway, 'close')
    const waiting = asked(a)
    programs.push(waiting)
    await eventually(() => waiting.output.includes('asking'), 30_000)
    nft('flush', ...set())
    assert.equal((await waiting.ended).replace('asking', '').trim(), 'endpoint')
    gateway.listen(port, network.gateway)
    await once(gateway, 'listening')
    await redirect(false)
  })

  void it('comes with names that are asked for again, not refused, while nobody answers', async () => {
    const range = parseCidr(network.plan.serviceCidr)
    assert.ok(range)
    const asking = startNode(question(addressAt(range, 10)), { netnsPath: a?.netnsPath })
    programs.push(asking)
    await eventually(() => asking.output.includes('asked'), 30_000)
    const server = createSocket('udp4', (_, { address, port }) => server.send('answer', port, address))
    server.bind(namesPort, network.gateway)
    assert.match(await asking.ended, /answer 0/)
    server.close()
  })

  void it('is ended by who watches the process that wanted it, when that is killed, also for who was reset by it', async () => {
    await redirect(true)
    assert.equal(hasLease(), true)
    const fromOnePort = (): Program => startNode(client(clusterIP, 40_000), { netnsPath: a?.netnsPath })
    gateway.prependOnceListener('connection', (socket) => socket.resetAndDestroy())
    assert.match(await fromOnePort().ended, /ECONNRESET/)
    // Longer than the kernel would remember it.
    conntrack('-U', '--timeout', '600')
    const path = new URL('./death-watch.ts', import.meta.url).pathname
    const code = `import { openDeathWatch } from '${path}'
      openDeathWatch(${JSON.stringify(lastWill(network.plan))})
      console.log('watched')
      setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--conditions=@fairlead/source', '--input-type=module', '-e', code])
    await once(child.stdout, 'data')
    assert.equal(hasLease(), true)
    gateway.close()
    child.kill('SIGKILL')
    await eventually(() => !hasLease(), 30_000)
    await eventually(() => conntrack('-L') === '', 30_000)
    assert.match(await fromOnePort().ended, /endpoint/)
    await redirect(false)
  })
})
