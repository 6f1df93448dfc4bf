// etcd's client for the api benchmark: one call of gRPC over HTTP/2 written by hand, as Connection in api-load.ts is for HTTP/1.1. A whole gRPC
// library in the one process of the clients costs more than etcd's own work: it would be the library that is measured.
import { connect as connectTcp } from 'node:net'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

export interface EtcdAddress {
  port: number
  /** PEM texts: with TLS and a client certificate. */
  tls?: { ca: string; cert: string; key: string } | undefined
}

const headBytes = 9
const frame = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goAway: 7 } as const
const endStream = 1
const endHeaders = 4
const ack = 1

/** A call under way: its answer is whole when its stream ends. */
interface Call {
  hasMessage: boolean
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** Sends what is far below every window of flow control, so that it never has to wait for one. */
export class EtcdConnection {
  readonly #socket: Socket
  readonly #head: Buffer
  readonly #calls = new Map<number, Call>()
  #received: Buffer = Buffer.alloc(0)
  #nextStream = 1

  private constructor(socket: Socket, { port, tls }: EtcdAddress) {
    this.#socket = socket
    this.#head = requestHead(`127.0.0.1:${port}`, tls !== undefined)
    socket.setNoDelay(true)
    socket.on('data', (data) => this.#read(data))
    socket.on('close', () => this.#fail(new Error('etcd has closed the connection')))
    // Preface, our settings (all as they are by default), and room for all answers there will be.
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    socket.write(frameOf(frame.settings, 0, 0, Buffer.alloc(0)))
    socket.write(Buffer.from([0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0]))
  }

  static async open(address: EtcdAddress): Promise<EtcdConnection> {
    const { port, tls } = address
    const where = { port, host: '127.0.0.1' }
    const socket = tls === undefined ? connectTcp(where) : connectTls({ ...where, ...tls, ALPNProtocols: ['h2'] })
    const opened = tls === undefined ? 'connect' : 'secureConnect'
    await new Promise((resolve, reject) => socket.once(opened, resolve).once('error', reject))
    return new EtcdConnection(socket, address)
  }

  /** Puts a value; rejects unless etcd answers with a message, which it does for a success only. */
  async put(key: string, value: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const stream = this.#nextStream
    this.#nextStream += 2
    this.#calls.set(stream, { hasMessage: false, resolve, reject })
    const message = Buffer.concat([field(1, Buffer.from(key)), field(2, Buffer.from(value))])
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(message.length, 1)
    const head = frameOf(frame.headers, endHeaders, stream, this.#head)
    this.#socket.write(Buffer.concat([head, frameOf(frame.data, endStream, stream, prefix, message)]))
    return await promise
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(data: Buffer): void {
    const bytes = this.#received.length === 0 ? data : Buffer.concat([this.#received, data])
    let at = 0
    while (bytes.length - at >= headBytes) {
      const end = at + headBytes + bytes.readUIntBE(at, 3)
      if (bytes.length < end) break
      this.#take(
        bytes[at + 3] ?? 0,
        bytes[at + 4] ?? 0,
        bytes.readUInt32BE(at + 5),
        bytes.subarray(at + headBytes, end),
      )
      at = end
    }
    this.#received = bytes.subarray(at)
  }

  #take(type: number, flags: number, stream: number, payload: Buffer): void {
    if (type === frame.goAway || type === frame.reset)
      return this.#fail(new Error(`etcd ended a call: ${String(payload)}`))
    if (type === frame.settings && (flags & ack) === 0)
      this.#socket.write(frameOf(frame.settings, ack, 0, Buffer.alloc(0)))
    if (type === frame.ping && (flags & ack) === 0) this.#socket.write(frameOf(frame.ping, ack, 0, payload))
    if (type !== frame.data && type !== frame.headers) return
    const call = this.#calls.get(stream)
    if (call === undefined) return
    if (type === frame.data && payload.length > 0) call.hasMessage = true
    if ((flags & endStream) === 0) return
    this.#calls.delete(stream)
    if (call.hasMessage) call.resolve()
    else call.reject(new Error('etcd refused a put'))
  }

  #fail(error: Error): void {
    for (const { reject } of this.#calls.values()) reject(error)
    this.#calls.clear()
  }
}

/** The same for every call: HPACK without anything remembered between calls. */
function requestHead(authority: string, isTls: boolean): Buffer {
  const methodPost = 0x83
  const scheme = isTls ? 0x87 : 0x86
  return Buffer.concat([
    Buffer.from([methodPost, scheme]),
    Buffer.from([0x04]),
    text('/etcdserverpb.KV/Put'),
    Buffer.from([0x01]),
    text(authority),
    Buffer.from([0x0f, 0x10]),
    text('application/grpc'),
    Buffer.from([0x00]),
    text('te'),
    text('trailers'),
  ])
}

function text(value: string): Buffer {
  return Buffer.concat([Buffer.from([value.length]), Buffer.from(value, 'latin1')])
}

function frameOf(type: number, flags: number, stream: number, ...payload: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(headBytes)
  head.writeUIntBE(
    payload.reduce((sum, each) => sum + each.length, 0),
    0,
    3,
  )
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, ...payload])
}

/** A field of bytes in protobuf's wire format. */
function field(number: number, bytes: Buffer): Buffer {
  const length: number[] = []
  let rest = bytes.length
  for (; rest > 0x7f; rest >>>= 7) length.push((rest & 0x7f) | 0x80)
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length, rest]), bytes])
}
