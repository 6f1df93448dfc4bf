import type { Socket } from 'node:net'

import { Pages } from '../storage/pages.ts'
import type { HeadWriter } from './answer-head.ts'
import type { ApiResponse } from './exchange.ts'
import { HeadReader } from './request-head.ts'
import type { RequestHead } from './request-head.ts'
import type { Cancellation } from './under-way.ts'

/** A request that is here as a whole. */
export class PlainRequest {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly socket: Socket
  readonly #body: Buffer

  constructor(head: RequestHead, body: Buffer, socket: Socket) {
    this.method = head.method
    this.url = head.target
    this.headers = head.fields.headers
    this.socket = socket
    this.#body = body
  }

  get headersDistinct(): Record<string, string[]> {
    return Object.fromEntries(Object.entries(this.headers).map(([name, value]) => [name, [value]]))
  }

  readBody(): Promise<Buffer> {
    return Promise.resolve(this.#body)
  }
}

export interface PlainOptions {
  /** Answers a request; the next one of the connection is read when that is done. Never rejects. */
  readonly serve: (request: PlainRequest, connection: PlainConnection) => Promise<void>
  /** Takes a connection over that has its next bytes still to read. */
  readonly handOver: (socket: Socket) => void
  readonly heads: HeadWriter
  readonly checkMs: number
  readonly keepAliveMs: number
}

/** A request with more than this is no plain one, nor is one that comes in so many pieces. */
const requestLimitBytes = 64 << 10
const requestLimitPieces = 16
/** A longer answer is not copied behind its head. */
const answerLimitBytes = 64 << 10

/**
 * Connections whose requests are read here and not by `node:http`, which is a third of the time of a small write: only
 * requests that leave nothing to interpret and come soon. At the first one that is different (an upgrade, a body in
 * chunks or a large one, a slow client, an odd header) the connection becomes one of `node:http`, with what was read
 * of that request; no byte is ever read by both.
 */
export class PlainConnections {
  readonly #options: PlainOptions
  readonly #all = new Set<PlainConnection>()
  readonly #pages = new Pages()
  readonly #timer: NodeJS.Timeout

  constructor(options: PlainOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#all.forEach((each) => each.check()), options.checkMs).unref()
  }

  accept(socket: Socket): void {
    this.#all.add(new PlainConnection(socket, this.#options, this.#pages, (self) => this.#all.delete(self)))
  }

  /** Ends connections that have nothing to answer, the others once they have answered what nobody waits for any more. */
  close(): void {
    clearInterval(this.#timer)
    for (const each of this.#all) each.underWay?.abort()
    for (const each of this.#all) each.close()
  }

  destroy(): void {
    for (const each of this.#all) each.socket.destroy()
  }
}

export class PlainConnection {
  readonly socket: Socket
  /** Of the request that is answered. */
  underWay: Cancellation | undefined
  readonly #options: PlainOptions
  /** Room for answers: many follow each other, and a buffer of its own for each is dearer than filling it. */
  readonly #pages: Pages
  readonly #heads = new HeadReader()
  readonly #forget: (self: PlainConnection) => void
  #received: Buffer | undefined
  #pieces = 0
  #requests = 0
  #isBusy = false
  #isClosing = false
  /** What the last check found, and how often it was the same. */
  #checked = -1
  #quietChecks = 0

  constructor(socket: Socket, options: PlainOptions, pages: Pages, forget: (self: PlainConnection) => void) {
    this.socket = socket
    this.#options = options
    this.#pages = pages
    this.#forget = forget
    socket.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('error', this.#onError)
  }

  /** Sends the answer unless it needs more than its head and one piece. */
  reply(answer: ApiResponse): boolean {
    if (!('pieces' in answer.body) || answer.body.pieces.length !== 1) return false
    const [piece] = answer.body.pieces
    if (piece === undefined || piece.length > answerLimitBytes) return false
    const head = this.#options.heads.render(answer, piece.length)
    if (head === undefined) return false
    const bytes = this.#pages.take(head.length + piece.length)
    bytes.write(head, 0, 'latin1')
    piece.copy(bytes, head.length)
    this.socket.write(bytes)
    return true
  }

  close(): void {
    this.#isClosing = true
    if (!this.#isBusy) this.socket.destroySoon()
  }

  /** To be called now and then: who is slow goes, who is silent is cut. */
  check(): void {
    if (this.#isBusy || this.#checked !== this.#requests) {
      this.#checked = this.#requests
      this.#quietChecks = 0
      return
    }
    this.#quietChecks += 1
    if (this.#received !== undefined || this.#requests === 0) return this.#handOver()
    if (this.#quietChecks * this.#options.checkMs > this.#options.keepAliveMs) this.socket.destroySoon()
  }

  readonly #onData = (piece: Buffer): void => {
    this.#received = this.#received === undefined ? piece : Buffer.concat([this.#received, piece])
    this.#pieces += 1
    // The next request waits where it is until this one is answered.
    if (this.#isBusy) this.socket.pause()
    else this.#advance()
  }

  readonly #onEnd = (): void => void this.socket.end()

  readonly #onError = (): void => void this.socket.destroy()

  readonly #onClose = (): void => {
    this.#forget(this)
    this.underWay?.abort()
  }

  #advance(): void {
    const bytes = this.#received
    if (bytes === undefined) return
    const headBytes = bytes.indexOf('\r\n\r\n', 0, 'latin1')
    if (headBytes < 0) return this.#wait(bytes)
    const head = this.#heads.read(bytes.toString('latin1', 0, headBytes))
    if (head === undefined || head.fields.bodyBytes > requestLimitBytes) return this.#handOver()
    const start = headBytes + 4
    const end = start + head.fields.bodyBytes
    if (bytes.length < end) return this.#wait(bytes)
    this.#received = bytes.length === end ? undefined : bytes.subarray(end)
    this.#pieces = 0
    this.#isBusy = true
    this.#requests += 1
    const request = new PlainRequest(head, bytes.subarray(start, end), this.socket)
    void this.#options.serve(request, this).then(this.#onServed)
  }

  #wait(bytes: Buffer): void {
    if (bytes.length > requestLimitBytes || this.#pieces > requestLimitPieces) this.#handOver()
  }

  readonly #onServed = (): void => {
    this.#isBusy = false
    const { socket } = this
    if (socket.destroyed) return
    if (this.#isClosing) return socket.destroySoon()
    this.#advance()
    if (!this.#isBusy && socket.isPaused()) socket.resume()
  }

  #handOver(): void {
    const { socket } = this
    this.#forget(this)
    socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose).off('error', this.#onError)
    socket.pause()
    if (this.#received !== undefined) socket.unshift(this.#received)
    this.#options.handOver(socket)
    socket.resume()
  }
}
