import type { Socket } from 'node:net'

/** What a client speaks. */
export type Spoken = 'http1' | 'http2' | 'other'

/** Clients that have not said anything by then are waiting for the server, as those of MySQL do; so long does Istio wait too. */
const silenceMs = 5_000

const preface = 'PRI * HTTP/2.0\r\n'

/**
 * Tells `done` what the first bytes of a connection are, which stay to be read. Nothing is told of a client that goes before. With
 * `headTimeoutMs` one that is silent for so long is let go; without, it is told to speak something else.
 */
export function sniff(
  socket: Socket,
  done: (spoken: Spoken) => void,
  { headTimeoutMs }: { readonly headTimeoutMs?: number | undefined } = {},
): void {
  const timer =
    headTimeoutMs === undefined
      ? setTimeout(() => settle('other'), silenceMs)
      : setTimeout(() => socket.destroy(), headTimeoutMs)
  const first = (): void => {
    const chunk: Buffer | null = socket.read()
    if (chunk === null) return
    socket.unshift(chunk)
    const spoken = speechOf(chunk.toString('latin1', 0, preface.length))
    if (spoken !== undefined) settle(spoken)
  }
  const close = (): void => clearTimeout(timer)
  function settle(spoken: Spoken): void {
    clearTimeout(timer)
    socket.off('readable', first)
    socket.off('close', close)
    done(spoken)
  }
  socket.on('readable', first)
  socket.once('close', close)
}

/** Undefined while there is too little to tell. */
export function speechOf(text: string): Spoken | undefined {
  if (text.startsWith(preface)) return 'http2'
  if (preface.startsWith(text)) return text.length < 4 ? undefined : 'http2'
  return /^[A-Z][A-Z-]*( |$)/.test(text) ? 'http1' : 'other'
}
