import { Duplex } from 'node:stream'

import { SpdyHeaderReader, SpdyHeaderWriter } from './spdy-headers.ts'
import type { SpdyHeaders } from './spdy-headers.ts'

export interface SpdySessionOptions {
  readonly role: 'client' | 'server'
  /** Told of every stream the other side opens; it is answered with SYN_REPLY already. Default: they are refused. */
  readonly onStream?: ((stream: SpdyStream) => void) | undefined
  /** Streams open at a time. Default 1,000. */
  readonly maxStreams?: number | undefined
}

/** One stream of a session: bytes both ways, each way ended by itself; `destroy` resets it. */
export class SpdyStream extends Duplex {
  readonly id: number
  readonly headers: SpdyHeaders
  readonly #session: SpdyLink

  constructor(session: SpdyLink, id: number, headers: SpdyHeaders) {
    super({ allowHalfOpen: true, emitClose: true, readableHighWaterMark: windowBytes })
    this.#session = session
    this.id = id
    this.headers = headers
  }

  override _read(): void {
    this.#session.wanted(this)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#session.writeData(this.id, chunk, 0, done)
  }

  override _final(done: () => void): void {
    this.#session.writeData(this.id, Buffer.alloc(0), flagFin, done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#session.left(this)
    done(error)
  }
}

/** What a stream asks of its session. */
interface SpdyLink {
  wanted(stream: SpdyStream): void
  writeData(id: number, chunk: Buffer, flags: number, done: () => void): void
  left(stream: SpdyStream): void
}

const types = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  window: 9,
} as const
const flagFin = 1
const windowBytes = 256 << 10
const maxFrameBytes = 1 << 20
const maxDataBytes = 32 << 10
const finishTimeoutMs = 2000
const statusProtocolError = 1
const statusRefused = 3
const statusCancel = 5

/**
 * One SPDY/3.1 connection (SPDY Protocol Draft 3.1) on any duplex, as far as Kubernetes speaks it: streams, resets, pings,
 * going away. The window of the receiver is announced as large as it may be and the sender's is not kept, as in the Go
 * library every Kubernetes client uses: what is not read holds up the whole connection.
 */
export class SpdySession {
  readonly #socket: Duplex
  readonly #options: SpdySessionOptions
  readonly #reader = new SpdyHeaderReader()
  readonly #writer = new SpdyHeaderWriter()
  readonly #streams = new Map<number, SpdyStream>()
  readonly #ended = Promise.withResolvers<void>()
  readonly #link: SpdyLink
  #lastId = 0
  #nextId: number
  #wake: (() => void) | undefined
  #isClosed = false
  #isLeaving = false

  constructor(socket: Duplex, options: SpdySessionOptions) {
    this.#socket = socket
    this.#options = options
    this.#nextId = options.role === 'client' ? 1 : 2
    this.#link = {
      wanted: () => this.#wake?.(),
      writeData: (id, chunk, flags, done) => this.#writeData(id, chunk, flags, done),
      left: (stream) => this.#left(stream),
    }
    socket.on('error', () => this.destroy())
    socket.on('close', () => this.destroy())
    void this.#run()
  }

  /** Resolves when the connection is gone; never rejects. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  /** Streams that are open. */
  get size(): number {
    return this.#streams.size
  }

  /** Opens a stream. It may be used at once: the answer is not waited for. */
  open(headers: SpdyHeaders): SpdyStream {
    const id = this.#nextId
    this.#nextId += 2
    const stream = new SpdyStream(this.#link, id, headers)
    this.#streams.set(id, stream)
    const head = Buffer.alloc(10)
    head.writeUInt32BE(id)
    this.#control(types.synStream, 0, [head, this.#writer.write(headers)])
    return stream
  }

  /** Tells the other side to open no more streams, and ends the connection when those there are have ended. */
  close(): void {
    if (this.#isLeaving) return
    this.#isLeaving = true
    this.#goAway(0)
    if (this.#streams.size === 0) this.#socket.end()
  }

  /** Ends the connection when everything written to its streams is on its way. */
  async finish(): Promise<void> {
    await Promise.all([...this.#streams.values()].map(whenWritten))
    this.#isLeaving = true
    this.#goAway(0)
    this.#socket.end()
    const timer = setTimeout(() => this.destroy(), finishTimeoutMs)
    await this.#ended.promise
    clearTimeout(timer)
  }

  /** Ends the connection and all streams at once. */
  destroy(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#wake?.()
    this.#reader.close()
    this.#socket.destroy()
    for (const stream of this.#streams.values()) stream.destroy()
    this.#streams.clear()
    this.#ended.resolve()
  }

  async #run(): Promise<void> {
    try {
      let rest: Buffer[] = []
      let size = 0
      let needed = 8
      for await (const chunk of this.#socket as AsyncIterable<Buffer>) {
        rest.push(chunk)
        size += chunk.length
        if (size < needed) continue
        let bytes = rest.length === 1 ? chunk : Buffer.concat(rest, size)
        while (bytes.length >= 8) {
          const length = bytes.readUIntBE(5, 3)
          if (length > maxFrameBytes) throw new RangeError('frame too big')
          if (bytes.length < 8 + length) break
          await this.#frame(bytes.readUInt32BE(), bytes[4] ?? 0, bytes.subarray(8, 8 + length))
          bytes = bytes.subarray(8 + length)
          if (this.#isClosed) return
        }
        needed = bytes.length < 8 ? 8 : 8 + bytes.readUIntBE(5, 3)
        rest = bytes.length === 0 ? [] : [bytes]
        size = bytes.length
      }
    } catch {
      if (!this.#isClosed) this.#goAway(statusProtocolError)
      this.#socket.end()
    }
    this.destroy()
  }

  async #frame(word: number, flags: number, payload: Buffer): Promise<void> {
    if (word >>> 31 === 0) return await this.#data(word, flags, payload)
    const version = (word >>> 16) & 0x7fff
    if (version !== 3) throw new RangeError('not SPDY/3')
    switch (word & 0xffff) {
      case types.synStream:
        return await this.#synStream(flags, payload)
      case types.synReply:
      case types.headers: {
        const stream = this.#streams.get(idOf(payload))
        // Read whoever it is for: blocks are one compressed stream.
        await this.#reader.read(payload.subarray(4))
        if ((flags & flagFin) !== 0) stream?.push(null)
        return
      }
      case types.rstStream:
        return this.#reset(idOf(payload))
      case types.ping:
        // Odd numbers are the client's; an answer to ours needs nothing.
        if (payload.length === 4 && (payload.readUInt32BE() & 1) !== (this.#nextId & 1))
          this.#control(types.ping, 0, [payload])
        return
      case types.goAway:
        this.#isLeaving = true
        if (this.#streams.size === 0) this.#socket.end()
    }
  }

  async #synStream(flags: number, payload: Buffer): Promise<void> {
    if (payload.length < 10) throw new RangeError('frame too short')
    const id = idOf(payload)
    const headers = await this.#reader.read(payload.subarray(10))
    const { onStream, role, maxStreams = 1000 } = this.#options
    const isTheirs = (id & 1) === (role === 'server' ? 1 : 0)
    if (!isTheirs || id <= this.#lastId) throw new RangeError('stream number out of order')
    this.#lastId = id
    if (onStream === undefined || this.#isLeaving || this.#streams.size >= maxStreams)
      return this.#sendReset(id, statusRefused)
    const stream = new SpdyStream(this.#link, id, headers)
    this.#streams.set(id, stream)
    const head = Buffer.alloc(4)
    head.writeUInt32BE(id)
    this.#control(types.synReply, 0, [head, this.#writer.write({})])
    if ((flags & flagFin) !== 0) stream.push(null)
    onStream(stream)
  }

  /** Hands data on, and waits while the stream is full. */
  async #data(id: number, flags: number, payload: Buffer): Promise<void> {
    const stream = this.#streams.get(id)
    if (stream === undefined || stream.readableEnded || stream.destroyed) return
    let isFull = payload.length > 0 && !stream.push(payload)
    if ((flags & flagFin) !== 0) stream.push(null)
    while (isFull && !this.#isClosed && !stream.destroyed && stream.readableLength >= windowBytes) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#wake = resolve
      await promise
      isFull = stream.readableLength >= windowBytes
    }
    this.#wake = undefined
    if (payload.length > 0) this.#grantWindow(id, payload.length)
  }

  /** For clients that keep windows; those of Kubernetes ignore it. */
  #grantWindow(id: number, bytes: number): void {
    const update = Buffer.alloc(8)
    update.writeUInt32BE(bytes, 4)
    this.#control(types.window, 0, [update])
    const ofStream = Buffer.from(update)
    ofStream.writeUInt32BE(id)
    this.#control(types.window, 0, [ofStream])
  }

  #reset(id: number): void {
    const stream = this.#streams.get(id)
    if (stream === undefined) return
    this.#streams.delete(id)
    stream.destroy()
  }

  #left(stream: SpdyStream): void {
    this.#wake?.()
    if (this.#streams.get(stream.id) !== stream) return
    this.#streams.delete(stream.id)
    if (this.#isClosed) return
    if (!stream.readableEnded || !stream.writableFinished) this.#sendReset(stream.id, statusCancel)
    if (this.#isLeaving && this.#streams.size === 0) this.#socket.end()
  }

  #sendReset(id: number, status: number): void {
    const payload = Buffer.alloc(8)
    payload.writeUInt32BE(id)
    payload.writeUInt32BE(status, 4)
    this.#control(types.rstStream, 0, [payload])
  }

  #goAway(status: number): void {
    const payload = Buffer.alloc(8)
    payload.writeUInt32BE(this.#lastId)
    payload.writeUInt32BE(status, 4)
    this.#control(types.goAway, 0, [payload])
  }

  #control(type: number, flags: number, parts: readonly Buffer[]): void {
    if (this.#isClosed || this.#socket.destroyed || this.#socket.writableEnded) return
    const head = Buffer.alloc(8)
    head.writeUInt32BE((0x8003 * 0x1_0000 + type) >>> 0)
    head[4] = flags
    head.writeUIntBE(
      parts.reduce((sum, part) => sum + part.length, 0),
      5,
      3,
    )
    this.#socket.write(Buffer.concat([head, ...parts]))
  }

  #writeData(id: number, chunk: Buffer, flags: number, done: () => void): void {
    const socket = this.#socket
    if (this.#isClosed || socket.destroyed || socket.writableEnded) return done()
    socket.cork()
    let at = 0
    do {
      const part = chunk.subarray(at, at + maxDataBytes)
      at += part.length
      const head = Buffer.alloc(8)
      head.writeUInt32BE(id)
      head[4] = at >= chunk.length ? flags : 0
      head.writeUIntBE(part.length, 5, 3)
      socket.write(head)
      if (part.length > 0) socket.write(part)
    } while (at < chunk.length)
    socket.uncork()
    if (!socket.writableNeedDrain) return done()
    const go = (): void => {
      socket.off('drain', go)
      socket.off('close', go)
      done()
    }
    socket.on('drain', go)
    socket.on('close', go)
  }
}

async function whenWritten(stream: SpdyStream): Promise<void> {
  if (!stream.writableEnded || stream.writableFinished || stream.destroyed) return
  const { promise, resolve } = Promise.withResolvers<void>()
  stream.once('finish', resolve)
  stream.once('close', resolve)
  await promise
}

function idOf(payload: Buffer): number {
  if (payload.length < 4) throw new RangeError('frame too short')
  return payload.readUInt32BE() & 0x7fff_ffff
}
