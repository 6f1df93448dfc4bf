import { readFile } from 'node:fs/promises'
import { isIPv4, isIPv6 } from 'node:net'
import type { Socket } from 'node:net'
import { endianness } from 'node:os'

/** One end of a TCP connection. */
export interface SocketAddress {
  readonly address: string
  readonly port: number
}

/** Tells which user of this machine is at the other end of a connection; `undefined` when it cannot be told. */
export type PeerUid = (socket: Socket) => Promise<number | undefined>

const TABLES = ['/proc/net/tcp', '/proc/net/tcp6']
const ESTABLISHED = '01'

/**
 * Looks the other end of loopback connections up in the tables of the kernel (proc(5), "/proc/net/tcp"). A connection is
 * looked up once: who owns a socket does not change, short of CAP_CHOWN.
 */
export function createPeerUid(read: (path: string) => Promise<string> = readTable): PeerUid {
  const known = new WeakMap<Socket, Promise<number | undefined>>()
  return (socket) => {
    const running = known.get(socket) ?? look(socket)
    known.set(socket, running)
    return running
  }

  async function look({ remoteAddress, remotePort, localAddress, localPort }: Socket): Promise<number | undefined> {
    if (!remoteAddress || !remotePort || !localAddress || !localPort || !isLoopback(remoteAddress)) return undefined
    const peer = { address: remoteAddress, port: remotePort }
    const self = { address: localAddress, port: localPort }
    for (const table of TABLES) {
      const uid = findUid(await read(table).catch(() => ''), peer, self)
      if (uid !== undefined) return uid
    }
    return undefined
  }
}

/**
 * The owner of the socket that goes from `from` to `to`. Only established connections with an inode count: one that its
 * process has closed is shown with uid 0, whoever it was, and is not root's.
 */
export function findUid(table: string, from: SocketAddress, to: SocketAddress): number | undefined {
  const ends = keysOf(from).flatMap((local) => keysOf(to).map((remote) => `${local} ${remote} ${ESTABLISHED} `))
  for (const end of ends) {
    // The table of a busy machine has thousands of lines: only the one that is meant is taken apart.
    const at = table.indexOf(end)
    if (at === -1) continue
    const [, , , uid, , inode] = table.slice(at + end.length, table.indexOf('\n', at)).split(/\s+/)
    if (inode !== undefined && inode !== '0' && uid !== undefined) return Number(uid)
  }
  return undefined
}

/** An end as the kernel writes it: an IPv4 address may be one of IPv6 to its socket. */
function keysOf({ address, port }: SocketAddress): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '')
  if (isIPv4(plain)) {
    const bytes = Buffer.from(plain.split('.').map(Number))
    const mapped = Buffer.concat([Buffer.alloc(10), Buffer.from([255, 255]), bytes])
    return [`${inWords(bytes)}${suffix}`, `${inWords(mapped)}${suffix}`]
  }
  return isIPv6(plain) ? [`${inWords(ipv6Bytes(plain))}${suffix}`] : []
}

/** The kernel prints addresses in words of 32 bits, in the order of this processor. */
function inWords(bytes: Buffer): string {
  const words = Array.from({ length: bytes.byteLength / 4 }, (_, index) =>
    endianness() === 'LE' ? bytes.readUInt32LE(index * 4) : bytes.readUInt32BE(index * 4),
  )
  return words.map((word) => word.toString(16).toUpperCase().padStart(8, '0')).join('')
}

function ipv6Bytes(address: string): Buffer {
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::')
  const groups = (text: string): number[] => (text === '' ? [] : text.split(':').map((group) => parseInt(group, 16)))
  const [first, last] = [groups(head), groups(tail ?? '')]
  const all = [...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last]
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 255]))
}

/** Whether an address can only be reached from this machine. */
function isLoopback(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127(?:\.\d{1,3}){3}$/i.test(address)
}

function readTable(path: string): Promise<string> {
  return readFile(path, 'utf8')
}
