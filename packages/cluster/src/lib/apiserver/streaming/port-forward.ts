import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createMessageStream, SpdySession, WebSocket } from '@fairlead/kube/streaming'
import type { SpdyStream } from '@fairlead/kube/streaming'

import type { RemotePod } from '../kubelet.ts'
import { badRequest } from '../status.ts'
import type { Negotiated } from './negotiate.ts'

export const forwardOffer = {
  webSocket: ['SPDY/3.1+portforward.k8s.io', 'v4.channel.k8s.io', 'v4.base64.channel.k8s.io'],
  spdy: ['portforward.k8s.io'],
} as const

const pairTimeoutMs = 30_000

/** The ports of a query: repeated, or several with commas between. */
export function parsePorts(query: URLSearchParams): number[] {
  const words = query.getAll('ports').flatMap((text) => text.split(','))
  return words
    .filter((word) => word !== '')
    .map((word) => {
      const port = Number(word)
      if (!isPort(port))
        throw badRequest(`query parameter "ports" cannot be parsed: unable to parse "${word}" as a port`)
      return port
    })
}

/** Connects a client to ports of a pod, until it goes. */
export async function forwardPorts(
  connection: Duplex,
  negotiated: Negotiated,
  ports: readonly number[],
  pod: RemotePod,
): Promise<void> {
  if (negotiated.transport === 'spdy') return await forwardStreams(connection, pod)
  if (negotiated.protocol.startsWith('SPDY/'))
    return await forwardStreams(createMessageStream(connection, { role: 'server' }), pod)
  await forwardChannels(connection, negotiated.protocol.includes('base64'), ports, pod)
}

// ---- portforward.k8s.io: two streams for each connection, paired by the header "requestid"

interface Pair {
  error?: SpdyStream
  data?: SpdyStream
  readonly timer: NodeJS.Timeout
}

async function forwardStreams(connection: Duplex, pod: RemotePod): Promise<void> {
  const pairs = new Map<string, Pair>()
  const session = new SpdySession(connection, {
    role: 'server',
    onStream(stream) {
      stream.on('error', () => {})
      const { streamtype: type, port, requestid } = stream.headers
      const isKnown = type === 'error' || type === 'data'
      if (!isKnown || !isPort(Number(port))) return void stream.destroy()
      // Clients before 1.4 sent none: their streams come in pairs, the error's first.
      const id = requestid ?? String(type === 'data' ? stream.id - 2 : stream.id)
      const pair = pairs.get(id) ?? startPair(id)
      if (pair[type] !== undefined) return void stream.destroy()
      pair[type] = stream
      if (pair.data === undefined || pair.error === undefined) return
      clearTimeout(pair.timer)
      pairs.delete(id)
      void forwardPair(pair.data, pair.error, Number(port), pod)
    },
  })
  function startPair(id: string): Pair {
    const timer = setTimeout(() => {
      const late = pairs.get(id)
      pairs.delete(id)
      late?.data?.destroy()
      late?.error?.destroy()
    }, pairTimeoutMs)
    const pair: Pair = { timer }
    pairs.set(id, pair)
    return pair
  }
  await session.ended
  for (const { timer } of pairs.values()) clearTimeout(timer)
}

async function forwardPair(data: SpdyStream, error: SpdyStream, port: number, pod: RemotePod): Promise<void> {
  error.resume()
  const socket = await pod.connect(port).catch((cause: unknown) => void error.write(describe(port, cause)))
  if (socket !== undefined) await join(data, socket)
  error.end()
  if (socket === undefined) data.end()
}

// ---- channels: two for each port, the second for errors; each begins with the port, two bytes, low byte first

async function forwardChannels(
  connection: Duplex,
  isBase64: boolean,
  ports: readonly number[],
  pod: RemotePod,
): Promise<void> {
  const inputs = new Map<number, (bytes: Buffer) => void>()
  const webSocket = new WebSocket(connection, {
    role: 'server',
    onMessage(raw) {
      const message = isBase64 ? Buffer.concat([Buffer.of((raw[0] ?? 0) - 0x30), decode(raw)]) : raw
      inputs.get(message[0] ?? 255)?.(message.subarray(1))
    },
  })
  const send = (channel: number, bytes: Buffer): boolean =>
    isBase64
      ? webSocket.send([Buffer.from(`${channel}${bytes.toString('base64')}`)], 'text')
      : webSocket.send([Buffer.of(channel), bytes])
  const sockets = new Set<Duplex>()
  for (const [index, port] of ports.entries()) void forwardChannel(index, port)
  await webSocket.ended
  for (const socket of sockets) socket.destroy()

  async function copyOut(socket: Duplex, take: (chunk: Buffer) => boolean): Promise<void> {
    try {
      for await (const chunk of socket as AsyncIterable<Buffer>) {
        if (!take(chunk)) await webSocket.drained()
        if (!webSocket.isOpen) return
      }
    } catch {
      // Destroyed from here with the connection, or broken by the pod: both are its end.
    }
  }

  async function forwardChannel(index: number, port: number): Promise<void> {
    const [data, error] = [2 * index, 2 * index + 1]
    const head = Buffer.from([port & 255, port >> 8])
    send(data, head)
    send(error, head)
    const early: Buffer[] = []
    inputs.set(data, (bytes) => early.push(bytes))
    const socket = await pod
      .connect(port)
      .catch((cause: unknown) => void send(error, Buffer.from(describe(port, cause))))
    if (socket === undefined) return void inputs.set(data, () => {})
    sockets.add(socket)
    const write = (bytes: Buffer): void => {
      if (socket.destroyed || socket.writableEnded || socket.write(bytes)) return
      webSocket.pause()
      socket.once('drain', () => webSocket.resume())
      socket.once('close', () => webSocket.resume())
    }
    for (const bytes of early) write(bytes)
    inputs.set(data, write)
    socket.on('error', () => {})
    await copyOut(socket, (chunk) => send(data, chunk))
    sockets.delete(socket)
    // The other way has no end of its own here.
    socket.destroy()
    // These channels know no end of one connection: with the last of them the client learns it by the end of all.
    if (sockets.size === 0) webSocket.close()
  }
}

/** Both ways, each to its own end. */
async function join(one: Duplex, other: Duplex): Promise<void> {
  const ways = [pipeline(one, other, { end: true }), pipeline(other, one, { end: true })]
  await Promise.allSettled(ways)
  one.destroy()
  other.destroy()
}

function decode(message: Buffer): Buffer {
  return Buffer.from(message.toString('latin1', 1), 'base64')
}

function describe(port: number, cause: unknown): string {
  return `error forwarding port ${port} to pod: ${cause instanceof Error ? cause.message : String(cause)}`
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port < 65_536
}
