import type { IncomingMessage, ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'

import type { Piece } from '../storage/collection.ts'
import type { ApiResponse } from './exchange.ts'
import { HttpSink } from './http-sink.ts'
import { inSlices, joinPieces, lengthOf, sliceBytes } from './pieces.ts'
import type { PlainRequest } from './plain-connections.ts'

const { IncomingMessage: Incoming, ServerResponse: Outgoing } = process.getBuiltinModule('node:http')

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
  const sink = new HttpSink(incoming, outgoing, drainMs)
  await answer.body.stream(sink)
  await sink.flushed()
  outgoing.end()
}

/** The same for a request that `node:http` has not read; resolves when the connection is free for the next one. */
export async function sendPlain(request: PlainRequest, answer: ApiResponse, drainMs: number): Promise<void> {
  const { method, socket } = request
  if (socket.destroyed) return
  const incoming = Object.assign(new Incoming(socket), { method, complete: true })
  Object.assign(incoming, { httpVersion: '1.1', httpVersionMajor: 1, httpVersionMinor: 1 })
  const outgoing = new Outgoing(incoming)
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
  pieces: readonly Piece[],
  drainMs: number,
): Promise<void> {
  const bytes = lengthOf(pieces)
  headers['content-length'] = bytes
  outgoing.writeHead(outgoing.statusCode, headers)
  if (incoming.method === 'HEAD') return void outgoing.end()
  if (bytes <= sliceBytes || pieces.length === 1) return void outgoing.end(joinPieces(pieces))
  const room = spareRoom ?? Buffer.allocUnsafeSlow(roomBytes)
  spareRoom = undefined
  const take = (size: number): Buffer => (size > room.length ? Buffer.allocUnsafeSlow(size) : room.subarray(0, size))
  for (const slice of inSlices(pieces, take)) {
    await sent(outgoing, slice, drainMs)
    // Encrypting a megabyte takes a moment; whoever else asks comes in between.
    await nextTurn()
    if (outgoing.destroyed) return
  }
  spareRoom = room
  outgoing.end()
}

/** Enough for a slice of objects that are not much larger than most. */
const roomBytes = sliceBytes + (64 << 10)
/** Memory of a list that is over, for the slices of the next one: fresh memory for each costs more than filling it. */
let spareRoom: Buffer | undefined

/** Resolves when `bytes` are not needed any more: they have been sent, or the client is gone or too slow. */
async function sent(outgoing: ServerResponse, bytes: Buffer, drainMs: number): Promise<void> {
  const { socket } = outgoing
  const { promise, resolve } = Promise.withResolvers<void>()
  // An answer that waits for the one before it on the same connection has no socket yet.
  const timer = socket === null ? undefined : setTimeout(() => socket.destroy(), drainMs)
  outgoing.once('close', resolve)
  outgoing.write(bytes, () => resolve())
  await promise
  clearTimeout(timer)
  outgoing.off('close', resolve)
}
