import { IncomingMessage, ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'

import type { ApiResponse } from './exchange.ts'
import { drained, HttpSink } from './http-sink.ts'
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
  const sink = new HttpSink(incoming, outgoing, drainMs)
  await answer.body.stream(sink)
  await sink.flushed()
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
