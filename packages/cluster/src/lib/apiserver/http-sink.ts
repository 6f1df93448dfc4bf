import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

import type { Frame, Sink } from './exchange.ts'

/**
 * What a socket is given at once, unless one frame is larger: a record of TLS. Node keeps memory for the largest write of a
 * connection as long as it is open.
 */
const writeBytes = 16_000
const none: Frame[] = []

/**
 * Writes to a response. Frames wait until the socket takes more, shared with all others they are for: encrypted they would be in
 * memory once for each slow client.
 */
export class HttpSink implements Sink {
  readonly isLocal = false
  readonly #outgoing: ServerResponse
  readonly #isChunked: boolean
  readonly #drainMs: number
  #frames: Frame[] = none
  #frameBytes = 0
  #isWriting = false
  #onWritten: (() => void) | undefined

  constructor(incoming: IncomingMessage, outgoing: ServerResponse, drainMs: number) {
    this.#outgoing = outgoing
    this.#drainMs = drainMs
    this.#isChunked = incoming.httpVersion === '1.1' && incoming.method !== 'HEAD'
  }

  get waitingBytes(): number {
    return this.#outgoing.writableLength + this.#frameBytes
  }

  write(bytes: Buffer): void {
    if (!this.#outgoing.destroyed) this.#outgoing.write(bytes)
  }

  writeFrames(frames: Frame[]): void {
    const { socket } = this.#outgoing
    if (!this.#isChunked || socket === null) return this.write(Buffer.concat(frames.map(({ line }) => line)))
    if (socket.destroyed) return
    for (const { chunk } of frames) this.#frameBytes += chunk.length
    if (this.#frames.length === 0) this.#frames = frames
    else for (const frame of frames) this.#frames.push(frame)
    this.#handOn(socket)
  }

  /** One write after the other. */
  #handOn(socket: Socket): void {
    if (this.#isWriting || this.#frames.length === 0 || socket.destroyed) return
    this.#isWriting = true
    socket.write(this.#take(), () => {
      this.#isWriting = false
      this.#handOn(socket)
      this.#onWritten?.()
    })
  }

  async drained(): Promise<void> {
    await drained(this.#outgoing.socket, this.#drainMs)
    await this.flushed()
  }

  /** Resolves when no frame waits here any more, or nobody is there to read it. */
  async flushed(): Promise<void> {
    while (this.#frames.length > 0 && this.#outgoing.socket?.destroyed === false) {
      await this.#written(this.#outgoing.socket)
    }
  }

  /** Resolves when the write under way is done, or the socket gone. */
  async #written(socket: Socket): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(() => socket.destroy(), this.#drainMs)
    this.#onWritten = resolve
    socket.once('close', resolve)
    await promise
    clearTimeout(timer)
    socket.off('close', resolve)
    this.#onWritten = undefined
  }

  #take(): Buffer {
    let count = 0
    let bytes = 0
    for (const { chunk } of this.#frames) {
      if (count > 0 && bytes + chunk.length > writeBytes) break
      bytes += chunk.length
      count += 1
    }
    const taken = this.#frames
    this.#frames = count === taken.length ? none : taken.splice(count)
    this.#frameBytes -= bytes
    return join(taken, bytes)
  }
}

let joined: { frames: readonly Frame[]; bytes: Buffer } = { frames: none, bytes: Buffer.alloc(0) }

/** Watchers of one collection are told the same in one turn: put together once for all of them. */
function join(frames: readonly Frame[], bytes: number): Buffer {
  const [first] = frames
  if (frames.length === 1 && first !== undefined) return first.chunk
  const isSame =
    frames.length === joined.frames.length && frames.every((frame, index) => frame === joined.frames[index])
  if (!isSame) {
    const chunks = frames.map(({ chunk }) => chunk)
    joined = { frames, bytes: Buffer.concat(chunks, bytes) }
  }
  return joined.bytes
}

/** Resolves when the socket takes more, or is gone. What a client does not read in `drainMs` is not kept for it. */
export async function drained(socket: Socket | null, drainMs: number): Promise<void> {
  if (socket === null || socket.destroyed || !socket.writableNeedDrain) return
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(() => socket.destroy(), drainMs)
  socket.on('drain', resolve)
  socket.on('close', resolve)
  await promise
  clearTimeout(timer)
  socket.off('drain', resolve)
  socket.off('close', resolve)
}
