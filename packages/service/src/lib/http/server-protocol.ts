import type { Socket } from 'node:net'

/** What an HTTP/2 client with prior knowledge begins with (RFC 9113 3.4). No HTTP/1 method is called PRI. */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

/** Looks at the first bytes of a socket, and puts them back. Not called when it ends before it says anything. */
export function detectProtocol(
  socket: Socket,
  timeoutMs: number,
  options: {
    readonly onDetected: (protocol: 'h2' | 'http/1.1') => void
    readonly onTimeout: () => void
  },
): void {
  let seen: Buffer = Buffer.alloc(0)
  const done = (): void => {
    clearTimeout(timer)
    socket.removeListener('data', look)
    socket.removeListener('error', ignore)
    socket.removeListener('close', done)
  }
  const look = (chunk: Buffer): void => {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk])
    const compared = Math.min(seen.length, preface.length)
    const isAlike = seen.compare(preface, 0, compared, 0, compared) === 0
    if (isAlike && compared < preface.length) return
    done()
    socket.pause()
    socket.unshift(seen)
    options.onDetected(isAlike ? 'h2' : 'http/1.1')
  }
  const timer = setTimeout(() => {
    done()
    options.onTimeout()
  }, timeoutMs)
  socket.on('data', look)
  socket.on('error', ignore)
  socket.on('close', done)
}

function ignore(): void {}
