import { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'

import type { ApiResponse, Frame, Sink } from './exchange.ts'
import { inSlices } from './pieces.ts'
import type { PlainRequest } from './plain-connections.ts'

/** Sends an answer of whatever kind; what the client does not read in `drainMs` is not kept for it. */
export async function send(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  answer: ApiResponse,
  drainMs: number,
): Promise<void> {
  if (outgoing.destroyed) return
  const headers: Record<string, string | string[] | number> = { 'cache-control': 'no-cache, private' }
  for (const name in answer.headers) {
    const value = answer.headers[name] ?? []
    headers[name] = typeof value === 'string' ? value : [...value]
  }
  // The rest of a body that was refused is not read: the connection ends with the answer.
  if (!incoming.complete && answer.status >= 400) headers['connection'] = 'close'
  if ('pieces' in answer.body) {
    outgoing.statusCode = answer.status
    return await sendPieces(incoming, outgoing, headers, answer.body.pieces, drainMs)
  }
  if ('switchTo' in answer.body) throw new TypeError('a plain request was answered with another protocol')
  outgoing.writeHead(answer.status, headers)
  outgoing.flushHeaders()
  await answer.body.stream(new HttpSink(incoming, outgoing, drainMs))
  outgoing.end()
}

/** The same for a request that `node:http` has not read; resolves when the connection is free for the next one. */
export async function sendPlain(request: PlainRequest, answer: ApiResponse, drainMs: number): Promise<void> {
  const { method, socket } = request
  if (socket.destroyed) return
  const incoming = Object.assign(new IncomingMessage(socket), { method, complete: true })
  Object.assign(incoming, { httpVersion: '1.1', httpVersionMajor: 1, httpVersionMinor: 1 })
  const outgoing = new ServerResponse(incoming)
  outgoing.assignSocket(socket)
  const { promise: isOver, resolve } = Promise.withResolvers<void>()
  outgoing.on('finish', resolve).on('close', resolve)
  await send(incoming, outgoing, answer, drainMs)
  await isOver
  if (!socket.destroyed) outgoing.detachSocket(socket)
}

async function sendPieces(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  headers: Record<string, string | string[] | number>,
  pieces: readonly Buffer[],
  drainMs: number,
): Promise<void> {
  headers['content-length'] = pieces.reduce((sum, piece) => sum + piece.length, 0)
  outgoing.writeHead(outgoing.statusCode, headers)
  if (incoming.method === 'HEAD') return void outgoing.end()
  if (pieces.length <= 1) return void outgoing.end(pieces[0])
  for (const slice of inSlices(pieces)) {
    if (!outgoing.write(slice)) await drained(outgoing.socket, drainMs)
    // Encrypting a megabyte takes a moment; whoever else asks comes in between.
    await nextTurn()
    if (outgoing.destroyed) return
  }
  outgoing.end()
}

/** Writes to a response; shared frames go straight to the socket, with everything of one turn in one write. */
class HttpSink implements Sink {
  readonly #outgoing: ServerResponse
  readonly #isChunked: boolean
  readonly #drainMs: number
  #isCorked = false

  constructor(incoming: IncomingMessage, outgoing: ServerResponse, drainMs: number) {
    this.#outgoing = outgoing
    this.#drainMs = drainMs
    this.#isChunked = incoming.httpVersion === '1.1' && incoming.method !== 'HEAD'
  }

  get waitingBytes(): number {
    return this.#outgoing.writableLength
  }

  write(bytes: Buffer): void {
    if (!this.#outgoing.destroyed) this.#outgoing.write(bytes)
  }

  writeFrame(frame: Frame): void {
    const { socket } = this.#outgoing
    if (!this.#isChunked || socket === null) return this.write(frame.line)
    if (socket.destroyed) return
    if (!this.#isCorked) {
      this.#isCorked = true
      socket.cork()
      setImmediate(() => {
        this.#isCorked = false
        socket.uncork()
      })
    }
    socket.write(frame.chunk)
  }

  async drained(): Promise<void> {
    await drained(this.#outgoing.socket, this.#drainMs)
  }
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
