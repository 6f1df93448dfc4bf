import type { Readable } from 'node:stream'
import type { Incoming } from './incoming.ts'

/**
 * Hands a body on: whole when its length is known and at most `limit`, else as the stream it is. Nothing is handed on when the client
 * goes away before a short body is complete.
 */
export function readBody(incoming: Incoming, limit: number, done: (body: Buffer | Readable) => void): void {
  const length = Number(incoming.headers['content-length'])
  if (!(length <= limit)) {
    done(incoming)
    return
  }
  const chunks: Buffer[] = []
  incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
  incoming.once('end', () => {
    const [first] = chunks
    done(chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks))
  })
}
