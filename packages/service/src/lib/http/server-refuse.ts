import type { Duplex } from 'node:stream'
import { codeOf } from '../errors.ts'
import { statusText } from '../node-http.ts'
import { Http1Connection, connectionOf } from './server-connection.ts'
import type { Refusal } from './server-options.ts'

const problemType = 'application/problem+json'

/** Problem details for who never got as far as a handler. The parser's reasons stay here: they help attackers most. */
export function problemText(status: number, detail: string): string {
  return JSON.stringify({ type: 'about:blank', title: statusText(status), status, detail })
}

/**
 * Writes an answer past Node's HTTP, and closes. What the peer still sends is read and thrown away for a second: a socket
 * closed with unread data makes the kernel reset the connection, and the peer may lose the answer.
 */
export function refuse(
  socket: Duplex,
  status: number,
  detail: string,
  headers: Readonly<Record<string, string | number>> = {},
): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const body = problemText(status, detail)
  const all = {
    ...headers,
    connection: 'close',
    'content-type': problemType,
    'content-length': Buffer.byteLength(body),
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.on('error', () => {})
  socket.end(`HTTP/1.1 ${status} ${statusText(status)}\r\n${lines.join('')}\r\n${body}`)
  const timer = setTimeout(() => socket.destroy(), 1000)
  timer.unref()
  socket.once('end', () => socket.destroy())
  socket.once('close', () => clearTimeout(timer))
  socket.resume()
}

/** Answers what is not HTTP, or came too slowly. */
export function refuseClient(error: Error, socket: Duplex): Refusal | undefined {
  const connection = connectionOf(socket)
  if (socket.writableEnded || socket.destroyed) return undefined
  const code = codeOf(error) ?? ''
  // Also the peer's own doing: a reset, or a write into a connection it has closed.
  if (!(connection instanceof Http1Connection) || !/^(HPE_|ERR_HTTP_)/.test(code)) {
    socket.destroy()
    return /^ERR_(SSL|TLS)/.test(code) ? { status: undefined, reason: 'tls' } : undefined
  }
  const { refusal, detail } = refusalOf(code)
  const { current } = connection
  if (current === undefined) refuse(socket, refusal.status, detail)
  else if (current.headersSent) {
    // Half an answer must not look like a whole one; a whole one may still leave.
    if (current.writableEnded) current.once('close', () => socket.destroy())
    else socket.destroy()
  } else if (current.req.complete) {
    // Not this request is at fault but what follows it.
    current.setHeader('connection', 'close')
  } else {
    const body = problemText(refusal.status, detail)
    current.writeHead(refusal.status, {
      connection: 'close',
      'content-type': problemType,
      'content-length': Buffer.byteLength(body),
    })
    current.end(body)
  }
  return refusal
}

function refusalOf(code: string): { refusal: Refusal & { status: number }; detail: string } {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return { refusal: { status: 408, reason: 'timeout' }, detail: 'The request did not arrive in time' }
  }
  if (code === 'HPE_HEADER_OVERFLOW') {
    return { refusal: { status: 431, reason: 'headers-too-large' }, detail: 'The request headers are too large' }
  }
  return { refusal: { status: 400, reason: 'bad-request' }, detail: 'The request is not valid HTTP/1.1' }
}
