import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { toolEnvironment } from './command.ts'
import { laneAt, macOf } from './lanes.ts'
import { tableName } from './plan.ts'
import { openPodNetwork } from './pod-network.ts'
import type { PodAttachment, PodNetwork } from './pod-network.ts'
import { eventually, startNode } from './testing.ts'
import type { Program } from './testing.ts'

const isRoot = process.platform === 'linux' && process.getuid?.() === 0
if (!isRoot && process.env['CI'] === 'true') throw new Error('Cannot run the network tests: they need root on Linux')
const skip = isRoot ? false : 'network namespaces need root on Linux'

/** Prints the sender of each datagram. */
const listener = `
  import { createSocket } from 'node:dgram'
  createSocket('udp4', (message, { address }) => console.log(String(message) + ' from ' + address)).bind(9000, () => console.log('listening'))`

void describe('pods that speak for others', { skip }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'fairlead-spoofing-'))
  const errors: unknown[] = []
  let network: PodNetwork
  let [thief, victim, server]: PodAttachment[] = []
  let heard: Program

  before(async () => {
    network = await openPodNetwork({ dir, mode: 'namespaces', onError: (error) => void errors.push(error) })
    ;[thief, victim, server] = await Promise.all(
      ['thief', 'victim', 'server'].map((name) => network.attach({ uid: name, namespace: 'default', name })),
    )
    heard = startNode(listener, { netnsPath: server?.netnsPath })
    await eventually(() => heard.output.includes('listening'), 30_000)
    // The host has asked for the address of the victim once, as it does before it sends anything there.
    const hello = `
      import { createSocket } from 'node:dgram'
      const socket = createSocket('udp4')
      socket.send('hello', 9000, '${server?.ip}', () => socket.close())`
    await startNode(hello, { netnsPath: victim?.netnsPath }).ended
    await eventually(() => heard.output.includes('hello from'), 30_000)
  })

  after(async () => {
    await heard?.[Symbol.asyncDispose]()
    await network?.close({ remove: true })
    rmSync(dir, { recursive: true })
    assert.deepEqual(errors, [])
    assert.ok(!execFileSync('nft', ['list', 'tables'], { env: toolEnvironment() }).toString().includes(network.plan.id))
  })

  /** Sends raw frames out of the pod; perl, which Debian always has, can do what Node cannot. */
  function sendFrames(pod: PodAttachment | undefined, frames: readonly Buffer[]): void {
    const perl = `
      socket(my $s, 17, 3, 0x0300) or die "socket: $!";
      my ($i) = \`ip -o link show eth0\` =~ /^(\\d+)/;
      send($s, pack('H*', $_), 0, pack('SnlSCCa8', 17, 3, $i, 1, 0, 6, '')) or die "send: $!" for @ARGV;`
    const args = [`--net=${pod?.netnsPath}`, 'perl', '-e', perl, ...frames.map((frame) => frame.toString('hex'))]
    execFileSync('nsenter', args, { env: toolEnvironment() })
  }

  /** A datagram to the port 9000 of the server. */
  function frame(from: { readonly mac: string; readonly ip: string }, text: string): Buffer {
    const udp = Buffer.alloc(8 + text.length)
    udp.writeUInt16BE(9001, 0)
    udp.writeUInt16BE(9000, 2)
    udp.writeUInt16BE(udp.length, 4)
    udp.write(text, 8)
    const ip = Buffer.alloc(20)
    ip.set([0x45, 0, 0, 20 + udp.length, 0, 0, 0, 0, 64, 17, 0, 0, ...bytes(from.ip), ...bytes(server?.ip ?? '')])
    let sum = 0
    for (let at = 0; at < 20; at += 2) sum += ip.readUInt16BE(at)
    sum = (sum & 0xffff) + (sum >>> 16)
    ip.writeUInt16BE(~(sum + (sum >>> 16)) & 0xffff, 10)
    return Buffer.concat([hex(macOf(network.gateway)), hex(from.mac), Buffer.from([8, 0]), ip, udp])
  }

  /** Says to everybody that `ip` is at `mac`. */
  function claim(from: string, mac: string, ip: string): Buffer {
    const head = Buffer.from([8, 6, 0, 1, 8, 0, 6, 4, 0, 1])
    const parts = [
      hex('ff:ff:ff:ff:ff:ff'),
      hex(from),
      head,
      hex(mac),
      Buffer.from(bytes(ip)),
      hex('00:00:00:00:00:00'),
    ]
    return Buffer.concat([...parts, Buffer.from(bytes(ip))])
  }

  const own = (pod: PodAttachment | undefined): { mac: string; ip: string } => ({
    mac: macOf(pod?.ip ?? ''),
    ip: pod?.ip ?? '',
  })

  void it('are not heard with the address of another pod, of the gateway or of a place outside', async () => {
    const [thiefs, victims] = [own(thief), own(victim)]
    sendFrames(thief, [
      frame({ ...thiefs, ip: victims.ip }, 'forged'),
      frame(victims, 'forged'),
      frame({ ...victims, ip: thiefs.ip }, 'forged'),
      frame({ ...thiefs, ip: network.gateway }, 'forged'),
      frame({ ...thiefs, ip: '192.0.2.1' }, 'forged'),
      frame(thiefs, 'honest'),
    ])
    // Frames of one pod keep their order, so what was sent before has been heard by now or never will be.
    await eventually(() => heard.output.includes(`honest from ${thiefs.ip}`), 30_000)
    assert.ok(!heard.output.includes('forged'), heard.output)
  })

  void it('do not take over what is meant for others, by ARP or by their hardware address', async () => {
    const [thiefs, victims] = [own(thief), own(victim)]
    sendFrames(thief, [
      claim(thiefs.mac, thiefs.mac, victims.ip),
      claim(thiefs.mac, victims.mac, thiefs.ip),
      claim(victims.mac, victims.mac, victims.ip),
      claim(thiefs.mac, thiefs.mac, network.gateway),
      frame(thiefs, 'claimed'),
    ])
    await eventually(() => heard.output.includes(`claimed from ${thiefs.ip}`), 30_000)
    const neighbours = execFileSync('ip', ['neigh', 'show', victims.ip], { env: toolEnvironment() }).toString()
    assert.ok(neighbours.includes(victims.mac), neighbours)
    const lane = laneAt(network.plan, victims.ip)
    const learned = execFileSync('bridge', ['fdb', 'show', 'br', `fl${network.plan.id}`], { env: toolEnvironment() })
    const places = learned
      .toString()
      .split('\n')
      .filter((line) => line.startsWith(victims.mac))
    assert.ok(places.length > 0 && places.every((line) => line.includes(`dev ${lane?.veth} `)), learned.toString())
  })

  void it('reach no other pod past the host, where policies are', async () => {
    const [thiefs, servers] = [own(thief), own(server)]
    const direct = frame(thiefs, 'direct')
    hex(servers.mac).copy(direct, 0)
    sendFrames(thief, [direct, frame(thiefs, 'after')])
    await eventually(() => heard.output.includes(`after from ${thiefs.ip}`), 30_000)
    assert.ok(!heard.output.includes('direct'), heard.output)
  })

  void it('are guarded again when the daemon comes back, with rules that were lost', async () => {
    await network.close()
    execFileSync('nft', ['delete', 'table', 'bridge', tableName(network.plan)], { env: toolEnvironment() })
    network = await openPodNetwork({ dir, mode: 'namespaces', onError: (error) => void errors.push(error) })
    sendFrames(thief, [frame({ ...own(thief), ip: own(victim).ip }, 'forged'), frame(own(thief), 'again')])
    await eventually(() => heard.output.includes('again from'), 30_000)
    assert.ok(!heard.output.includes('forged'), heard.output)
  })
})

function bytes(ip: string): number[] {
  return ip.split('.').map(Number)
}

function hex(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex')
}
