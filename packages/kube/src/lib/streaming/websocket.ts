import { createHash, randomBytes } from 'node:crypto'
import { Duplex } from 'node:stream'

/** Which side of a connection this is: what a client sends is masked, what a server sends is not (RFC 6455, 5.1). */
export type WebSocketRole = 'client' | 'server'

/** How a connection ended: the code of the close frame, 1006 without one. */
export interface WebSocketEnd {
  readonly code: number
  readonly reason: string
}

export interface WebSocketOptions {
  readonly role: WebSocketRole
  /** Bytes that came with the handshake. */
  readonly head?: Uint8Array | undefined
  /** A message larger than this ends the connection with 1009. Default 32 MiB, as upstream. */
  readonly maxMessageBytes?: number | undefined
  /** Told of every data message, in order; `data` is the receiver's to keep. */
  readonly onMessage: (data: Buffer, isText: boolean) => void
}

const defaultMaxMessageBytes = 32 << 20
const closeTimeoutMs = 2000
const highWaterBytes = 1 << 20

/** `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455, 4.2.2). */
export function acceptKey(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

/** A key for an opening handshake. */
export function createWebSocketKey(): string {
  return randomBytes(16).toString('base64')
}

const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/**
 * A WebSocket (RFC 6455) on a connection whose handshake is done: any duplex, so that it runs inside one process too. No
 * extensions. Pings are answered, the closing handshake is bounded in time, a breach of protocol ends the connection.
 */
export class WebSocket {
  readonly #socket: Duplex
  readonly #options: WebSocketOptions
  readonly #ended = Promise.withResolvers<WebSocketEnd>()
  readonly #parser: FrameParser
  #message: { readonly isText: boolean; readonly parts: Buffer[]; size: number } | undefined
  #received: WebSocketEnd | undefined
  #sentClose = false
  #isEnded = false

  constructor(socket: Duplex, options: WebSocketOptions) {
    this.#socket = socket
    this.#options = options
    this.#parser = new FrameParser(options.role === 'server', options.maxMessageBytes ?? defaultMaxMessageBytes)
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    socket.on('end', () => this.#end())
    socket.on('error', () => this.#end())
    socket.on('close', () => this.#end())
    const { head } = options
    // After the constructor: whoever listens has the object by then.
    if (head !== undefined && head.length > 0) queueMicrotask(() => this.#take(Buffer.from(head)))
  }

  /** Resolves when nothing more will come; never rejects. */
  get ended(): Promise<WebSocketEnd> {
    return this.#ended.promise
  }

  /** Bytes sent that the connection has not taken yet. */
  get waitingBytes(): number {
    return this.#socket.writableLength
  }

  get isOpen(): boolean {
    return !this.#isEnded && !this.#sentClose && this.#received === undefined
  }

  /** Sends the parts as one message. False when the other side reads more slowly: wait for {@link drained} then. */
  send(parts: readonly Uint8Array[], kind: 'binary' | 'text' = 'binary'): boolean {
    if (!this.isOpen) return true
    this.#write(opcodes[kind], parts)
    return this.#socket.writableLength < highWaterBytes
  }

  /** Resolves when the other side has caught up or is gone. */
  async drained(): Promise<void> {
    const socket = this.#socket
    if (this.#isEnded || socket.destroyed || socket.writableLength < highWaterBytes || !socket.writableNeedDrain) return
    const { promise, resolve } = Promise.withResolvers<void>()
    socket.once('drain', resolve)
    socket.once('close', resolve)
    await promise
    socket.off('drain', resolve)
    socket.off('close', resolve)
  }

  ping(): void {
    if (this.isOpen) this.#write(opcodes.ping, [])
  }

  /** Stops reading until {@link resume}; what has arrived may still be told. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    if (!this.#isEnded) this.#socket.resume()
  }

  /** Begins the closing handshake; the connection is gone two seconds later at the latest. */
  close(code = 1000, reason = ''): void {
    if (this.#sentClose || this.#isEnded) return
    const payload = Buffer.alloc(2 + Math.min(Buffer.byteLength(reason), 123))
    payload.writeUInt16BE(code)
    payload.write(reason, 2)
    this.#write(opcodes.close, [payload])
    this.#sentClose = true
    this.#socket.resume()
    if (this.#received !== undefined) this.#socket.end()
    const timer = setTimeout(() => this.#socket.destroy(), closeTimeoutMs)
    void this.#ended.promise.then(() => clearTimeout(timer))
  }

  /** Ends the connection at once. */
  destroy(): void {
    this.#socket.destroy()
    this.#end()
  }

  #take(chunk: Buffer): void {
    try {
      this.#parser.push(chunk)
      for (let frame = this.#parser.next(); frame !== undefined && !this.#isEnded; frame = this.#parser.next()) {
        this.#frame(frame)
      }
    } catch (error) {
      const { closeCode = 1011 } = error as { closeCode?: number }
      this.close(closeCode, error instanceof Error ? error.message : '')
      this.#received ??= { code: closeCode, reason: 'protocol error' }
      this.#socket.end()
      this.#end()
    }
  }

  #frame({ opcode, isFinal, payload }: Frame): void {
    // After our close frame only the other side's is of interest.
    if (this.#received !== undefined) return
    if (opcode === opcodes.ping) return void (this.isOpen && this.#write(opcodes.pong, [payload]))
    if (opcode === opcodes.pong) return
    if (opcode === opcodes.close) return this.#closeFrame(payload)
    if (this.#sentClose) return
    if (opcode === opcodes.continuation) {
      if (this.#message === undefined) throw breach(1002, 'continuation of no message')
    } else {
      if (this.#message !== undefined) throw breach(1002, 'message within a message')
      if (isFinal) return this.#options.onMessage(payload, opcode === opcodes.text)
      this.#message = { isText: opcode === opcodes.text, parts: [], size: 0 }
    }
    const message = this.#message
    message.parts.push(payload)
    message.size += payload.length
    if (message.size > (this.#options.maxMessageBytes ?? defaultMaxMessageBytes) || message.parts.length > 65_536)
      throw breach(1009, 'message too big')
    if (!isFinal) return
    this.#message = undefined
    this.#options.onMessage(Buffer.concat(message.parts, message.size), message.isText)
  }

  #closeFrame(payload: Buffer): void {
    if (payload.length === 1) throw breach(1002, 'close frame of one byte')
    const code = payload.length === 0 ? 1005 : payload.readUInt16BE()
    this.#received = { code, reason: payload.toString('utf8', 2) }
    if (this.#sentClose) this.#socket.end()
    else this.close(code === 1005 ? 1000 : code)
    this.#end()
  }

  #write(opcode: number, parts: readonly Uint8Array[]): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return
    const length = parts.reduce((sum, part) => sum + part.length, 0)
    const isMasked = this.#options.role === 'client'
    const head = frameHead(opcode, length, isMasked)
    if (!isMasked) {
      this.#socket.cork()
      this.#socket.write(head)
      for (const part of parts) this.#socket.write(part)
      this.#socket.uncork()
      return
    }
    const frame = Buffer.concat([head, ...parts], head.length + length)
    mask(frame.subarray(head.length), head.subarray(head.length - 4))
    this.#socket.write(frame)
  }

  #end(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#ended.resolve(this.#received ?? { code: 1006, reason: '' })
  }
}

interface Frame {
  readonly opcode: number
  readonly isFinal: boolean
  readonly payload: Buffer
}

function frameHead(opcode: number, length: number, isMasked: boolean): Buffer {
  const extra = length < 126 ? 0 : length < 65_536 ? 2 : 8
  const head = Buffer.alloc(2 + extra + (isMasked ? 4 : 0))
  head[0] = 0x80 | opcode
  head[1] = (isMasked ? 0x80 : 0) | (extra === 0 ? length : extra === 2 ? 126 : 127)
  if (extra === 2) head.writeUInt16BE(length, 2)
  if (extra === 8) head.writeBigUInt64BE(BigInt(length), 2)
  if (isMasked) randomBytes(4).copy(head, 2 + extra)
  return head
}

function mask(bytes: Buffer, key: Buffer): void {
  const [a = 0, b = 0, c = 0, d = 0] = key
  const whole = bytes.length & ~3
  let at = 0
  for (; at < whole; at += 4) {
    bytes[at] = (bytes[at] ?? 0) ^ a
    bytes[at + 1] = (bytes[at + 1] ?? 0) ^ b
    bytes[at + 2] = (bytes[at + 2] ?? 0) ^ c
    bytes[at + 3] = (bytes[at + 3] ?? 0) ^ d
  }
  for (; at < bytes.length; at += 1) bytes[at] = (bytes[at] ?? 0) ^ (key[at & 3] ?? 0)
}

/** Cuts a byte stream into frames; holds at most one frame that is not whole yet. */
class FrameParser {
  readonly #isMasked: boolean
  readonly #limit: number
  #chunks: Buffer[] = []
  #size = 0

  constructor(isMasked: boolean, limit: number) {
    this.#isMasked = isMasked
    this.#limit = limit
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#size += chunk.length
  }

  /** The next whole frame; undefined when more bytes are needed. Throws for a breach of protocol. */
  next(): Frame | undefined {
    if (this.#size < 2) return undefined
    const head = this.#peek(Math.min(this.#size, 14))
    const [first = 0, second = 0] = head
    const opcode = first & 15
    const isFinal = (first & 0x80) !== 0
    const isControl = opcode >= 8
    if ((first & 0x70) !== 0) throw breach(1002, 'reserved bits are set')
    if (![0, 1, 2, 8, 9, 10].includes(opcode)) throw breach(1002, 'unknown opcode')
    if (((second & 0x80) !== 0) !== this.#isMasked) throw breach(1002, 'wrong masking')
    const short = second & 127
    if (isControl && (short > 125 || !isFinal)) throw breach(1002, 'control frame too long or in parts')
    const extra = short === 126 ? 2 : short === 127 ? 8 : 0
    const headLength = 2 + extra + (this.#isMasked ? 4 : 0)
    if (head.length < headLength) return undefined
    const length = extra === 0 ? short : extra === 2 ? head.readUInt16BE(2) : Number(head.readBigUInt64BE(2))
    if (length > this.#limit) throw breach(1009, 'message too big')
    if (this.#size < headLength + length) return undefined
    const key = this.#take(headLength).subarray(headLength - 4)
    const payload = this.#take(length)
    if (this.#isMasked) mask(payload, key)
    return { opcode, isFinal, payload }
  }

  #peek(size: number): Buffer {
    const [first] = this.#chunks
    if (first !== undefined && first.length >= size) return first.subarray(0, size)
    return Buffer.concat(this.#chunks).subarray(0, size)
  }

  #take(size: number): Buffer {
    const [first] = this.#chunks
    if (first === undefined || size === 0) return Buffer.alloc(0)
    if (first.length < size) {
      this.#chunks = [Buffer.concat(this.#chunks, this.#size)]
      return this.#take(size)
    }
    this.#size -= size
    if (first.length === size) this.#chunks.shift()
    else this.#chunks[0] = first.subarray(size)
    return first.subarray(0, size)
  }
}

function breach(closeCode: number, message: string): Error {
  return Object.assign(new Error(message), { closeCode })
}

/** A byte stream carried by the binary messages of a WebSocket: what tunnels another protocol (KEP-4006). */
export function createMessageStream(socket: Duplex, options: Omit<WebSocketOptions, 'onMessage'>): Duplex {
  const stream = new Duplex({
    allowHalfOpen: true,
    read: () => webSocket.resume(),
    write(chunk: Buffer, _encoding, done) {
      if (webSocket.send([chunk])) done()
      else void whenDrained(webSocket, done)
    },
    final(done) {
      webSocket.close()
      done()
    },
    destroy(error, done) {
      webSocket.close()
      done(error)
    },
  })
  const webSocket = new WebSocket(socket, {
    ...options,
    onMessage(data) {
      if (!stream.destroyed && !stream.push(data)) webSocket.pause()
    },
  })
  void endWith(stream, webSocket)
  return stream
}

async function whenDrained(webSocket: WebSocket, done: () => void): Promise<void> {
  await webSocket.drained()
  done()
}

/** Nothing can be written either when nothing comes any more: a stream half open would wait for ever. */
async function endWith(stream: Duplex, webSocket: WebSocket): Promise<void> {
  await webSocket.ended
  if (!stream.readableEnded) stream.push(null)
  setImmediate(() => stream.destroy())
}
