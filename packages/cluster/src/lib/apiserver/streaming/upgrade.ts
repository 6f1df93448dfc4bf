import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'

import type { ApiResponse } from '../exchange.ts'
import { joinPieces } from '../pieces.ts'

// An import would bring all of fetch along: see scripts/check-imports.ts.
const { STATUS_CODES } = process.getBuiltinModule('node:http')

/** A connection nothing passes over is ended after this long, as the kubelet's `streamingConnectionIdleTimeout`. */
const idleTimeoutMs = 4 * 60 * 60 * 1000

const upgradable = /\/(?:exec|attach|portforward|log)(?:\?|$)|\/proxy(?:\/|\?|$)|[?&]watch=/

/** Whether a request may change the protocol of its connection; all others are answered as if they had not asked. */
export function maySwitch(incoming: Pick<IncomingMessage, 'url'>): boolean {
  return upgradable.test(incoming.url ?? '')
}

/** Gives the answer to a request that asked for another protocol: the protocol, or why not. Resolves when all is over. */
export async function sendSwitch(
  socket: Duplex & { setTimeout?(ms: number, listener: () => void): void },
  head: Buffer,
  answer: ApiResponse,
): Promise<void> {
  const { status, headers, body } = answer
  if ('switchTo' in body) {
    socket.write(renderHead(status, headers))
    socket.setTimeout?.(idleTimeoutMs, () => socket.destroy())
    if (head.length > 0) socket.unshift(head)
    return await body.switchTo(socket)
  }
  const bytes = joinPieces('pieces' in body ? body.pieces : [])
  socket.write(renderHead(status, { ...headers, 'content-length': String(bytes.length), connection: 'close' }))
  socket.end(bytes)
}

function renderHead(status: number, headers: ApiResponse['headers']): string {
  const lines = Object.entries(headers).flatMap(([name, value]) => [value].flat().map((one) => `${name}: ${one}`))
  return [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, ...lines, '', ''].join('\r\n')
}
