import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Service, ServiceSpec } from '@fairlead/kube/types/core-v1'
import type { Endpoint, EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import { addressAt, parseCidr } from './cidr.ts'
import { openPodNetwork } from './pod-network.ts'
import type { PodAttachment, PodNetwork } from './pod-network.ts'
import { openServiceProxy } from './service-proxy.ts'
import type { ServiceProxy } from './service-proxy.ts'
import { createServiceTable } from './service-table.ts'
import { createMemorySource, eventually, makeService, makeSlice, startNode } from './testing.ts'
import type { Program } from './testing.ts'

const isRoot = process.platform === 'linux' && process.getuid?.() === 0
if (!isRoot && process.env['CI'] === 'true') throw new Error('Cannot run the network tests: they need root on Linux')
const skip = isRoot ? false : 'network namespaces need root on Linux'

/** Says its name to clients of TCP and UDP. */
const server = (name: string): string => `
  import { createSocket } from 'node:dgram'
  import { createServer } from 'node:net'
  const udp = createSocket('udp4', (message, { address, port }) => udp.send('${name}', port, address)).bind(80, () =>
    createServer((socket) => socket.on('error', () => {}).end('${name}')).listen(80, () => console.log('listening')))`

const viaTcp = (host: string, patienceMs: number): string => `
  import { connect } from 'node:net'
  connect({ host: '${host}', port: 8080, timeout: ${patienceMs} }).on('data', (text) => console.log(String(text)))
    .on('timeout', function () { console.log('timeout'); this.destroy() }).on('error', ({ code }) => console.log(code))`

const viaUdp = (host: string, port: number, patienceMs: number): string => `
  import { createSocket } from 'node:dgram'
  const socket = createSocket('udp4', (text) => end(String(text))).on('error', ({ code }) => end(code))
  const end = (text) => (console.log(text), process.exit())
  setTimeout(end, ${patienceMs}, 'timeout')
  socket.send('x', ${port}, '${host}', (error) => error && end(error.code))`

void describe('nodes of one machine', { skip }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-topology-'))
  const programs: Program[] = []
  const services = createMemorySource<Service>()
  const slices = createMemorySource<EndpointSlice>()
  const table = createServiceTable(services, slices, [
    { name: 'first', zone: 'east' },
    { name: 'second', zone: 'west' },
  ])
  let network: PodNetwork
  let proxy: ServiceProxy
  let [a, b]: PodAttachment[] = []
  let serviceIp = (_n: number): string => ''

  before(async () => {
    network = await openPodNetwork({ dir, mode: 'namespaces' })
    const range = parseCidr(network.plan.serviceCidr)
    assert.ok(range)
    serviceIp = (n) => addressAt(range, n)
    ;[a, b] = await Promise.all(['a', 'b'].map((name) => network.attach({ uid: name, namespace: 'shop', name })))
    const homes = new Map([[a?.ip ?? '', 'first']])
    proxy = await openServiceProxy({ plan: network.plan, table, homes, onError: (error) => assert.ifError(error) })
    await proxy.setHome(b?.ip ?? '', 'second')
    for (const [name, pod] of [
      ['a', a],
      ['b', b],
    ] as const)
      programs.push(startNode(server(name), { netnsPath: pod?.netnsPath }))
    for (const program of programs) await eventually(() => program.output.includes('listening'), 30_000)
  })

  after(async () => {
    for (const program of programs) await program[Symbol.asyncDispose]()
    table.close()
    await proxy?.close()
    await network?.close({ remove: true })
    rmSync(dir, { recursive: true })
  })

  async function serve(spec: ServiceSpec, endpoints: readonly Endpoint[], protocol = 'TCP'): Promise<string> {
    const clusterIP = serviceIp(20)
    services.put(makeService('web', { clusterIP, ports: [{ name: 'http', port: 8080, protocol }], ...spec }))
    slices.put(makeSlice('web', [{ name: 'http', port: 80, protocol }], endpoints))
    await proxy.settled()
    return clusterIP
  }

  /** Checks what pods a and b, and the host, are told; who is told something has time for it on a busy machine too. */
  async function assertHeard(host: string, expected: readonly string[]): Promise<void> {
    const asked = [a, b, undefined].slice(0, expected.length).map((pod, index) => {
      const code = viaTcp(host, expected[index] === 'timeout' ? 1_500 : 30_000)
      return startNode(code, { netnsPath: pod?.netnsPath }).ended
    })
    assert.deepEqual(
      (await Promise.all(asked)).map((text) => text.trim()),
      expected,
    )
  }

  const at = (pod: PodAttachment | undefined, nodeName: string, more: Partial<Endpoint> = {}): Endpoint => ({
    addresses: [pod?.ip ?? ''],
    nodeName,
    ...more,
  })

  void it('serve their own pods only under internalTrafficPolicy Local, and drop what they have nobody for', async () => {
    const local = { internalTrafficPolicy: 'Local' }
    const ip = await serve(local, [at(a, 'first'), at(b, 'second')])
    await assertHeard(ip, ['a', 'b'])
    await serve(local, [at(a, 'first')])
    await assertHeard(ip, ['a', 'timeout', 'a'])
    const conditions = { ready: false, serving: true, terminating: true }
    await serve(local, [at(a, 'first', { conditions }), at(b, 'second')])
    await assertHeard(ip, ['a', 'b', 'b'])
    await serve(local, [{ addresses: [a?.ip ?? ''] }])
    await assertHeard(ip, ['timeout', 'timeout'])
    await serve(local, [])
    await assertHeard(ip, ['ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED'])
  })

  void it('keep clients at their endpoints per node', async () => {
    const ip = await serve({ internalTrafficPolicy: 'Local', sessionAffinity: 'ClientIP' }, [
      at(a, 'first'),
      at(b, 'second'),
    ])
    await assertHeard(ip, ['a', 'b'])
  })

  void it('follow the hints of endpoints', async () => {
    const hints = (zone: string, node: string): Partial<Endpoint> => ({
      hints: { forZones: [{ name: zone }], forNodes: [{ name: node }] },
    })
    const ip = await serve({}, [at(a, 'first', hints('east', 'first')), at(b, 'second', hints('west', 'second'))])
    await assertHeard(ip, ['a', 'b'])
    await serve({}, [at(b, 'second', hints('west', 'second'))])
    await assertHeard(ip, ['b', 'b', 'b'])
  })

  void it('lead SCTP to endpoints, from pods and from the host', async () => {
    // Node has no SCTP; the kernel looks at a packet no further than to a good checksum, and perl can send and see them raw.
    const receive = `socket(my $s, 2, 3, 132) or die $!; $| = 1; print "ready\\n";
      while (recv($s, my $p, 2000, 0)) { print unpack('x22n', $p), ' from ', join('.', unpack('x12C4', $p)), "\\n" }`
    const receiver = spawn('nsenter', [`--net=${b?.netnsPath}`, 'perl', '-e', receive], { timeout: 90_000 })
    let seen = ''
    receiver.stdout.on('data', (text) => (seen += text))
    try {
      await eventually(() => seen.includes('ready'), 30_000)
      const ip = await serve({}, [at(b, 'second')], 'SCTP')
      const send = `socket(my $s, 2, 3, 132) or die $!;
        send($s, pack('H*', '${initChunk(8080).toString('hex')}'), 0, pack('Sna4x8', 2, 0, pack('C4', split /\\./, '${ip}'))) or die $!`
      execFileSync('nsenter', [`--net=${a?.netnsPath}`, 'perl', '-e', send])
      await eventually(() => seen.includes(`80 from ${a?.ip}`), 30_000)
      execFileSync('perl', ['-e', send])
      await eventually(() => seen.includes(`80 from ${network.gateway}`), 30_000)
    } finally {
      receiver.kill('SIGKILL')
    }
  })

  void it('pass UDP of a load balancer on for the clients that it is to serve', async () => {
    const ask = async (port = 8080, patienceMs = 30_000): Promise<string> =>
      (await startNode(viaUdp('127.0.0.1', port, patienceMs)).ended).trim()
    const balancer = (loadBalancerSourceRanges: string[]): ServiceSpec => ({
      type: 'LoadBalancer',
      loadBalancerSourceRanges,
      ports: [{ name: 'http', port: 8080, protocol: 'UDP', nodePort: 32_080 }],
    })
    await serve(balancer([]), [at(a, 'first')], 'UDP')
    assert.equal(await ask(), 'a')
    await serve(balancer(['192.0.2.0/24', '192.0.2.128/25']), [at(a, 'first')], 'UDP')
    assert.notEqual(await ask(8080, 1_500), 'a')
    assert.equal(await ask(32_080), 'a')
    await serve(balancer(['192.0.2.0/24', '127.0.0.0/8']), [at(a, 'first')], 'UDP')
    assert.equal(await ask(), 'a')
  })
})

/** The first packet of an association to a port (RFC 9260, 3.3.2). */
function initChunk(port: number): Buffer {
  const packet = Buffer.alloc(32)
  packet.writeUInt16BE(30_000, 0)
  packet.writeUInt16BE(port, 2)
  packet.set([1, 0, 0, 20, 0, 0, 0, 7, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1], 12)
  packet.writeUInt32LE(crc32c(packet), 8)
  return packet
}

function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0)
  }
  return ~crc >>> 0
}
