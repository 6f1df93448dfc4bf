/**
 * The two protocols Kubernetes streams by: WebSocket (RFC 6455) and SPDY/3.1, on any duplex, both sides of each. What
 * `exec`, `attach` and `port-forward` are made of, on the client and in the embedded API server.
 *
 * ```ts
 * import { duplexPair } from 'node:stream'
 * import { SpdySession } from '@fairlead/kube/streaming'
 *
 * const [near, far] = duplexPair()
 * new SpdySession(far, { role: 'server', onStream: (stream) => stream.pipe(stream) })
 * const session = new SpdySession(near, { role: 'client' })
 * const stream = session.open({ streamtype: 'data' })
 * stream.end('hello')
 * console.log((await stream.toArray()).join('')) // hello
 * session.close()
 * ```
 */
export { SpdySession, SpdyStream } from './lib/streaming/spdy.ts'
export type { SpdySessionOptions } from './lib/streaming/spdy.ts'
export { SpdyHeaderReader, SpdyHeaderWriter } from './lib/streaming/spdy-headers.ts'
export type { SpdyHeaders } from './lib/streaming/spdy-headers.ts'
export { acceptKey, createMessageStream, createWebSocketKey, WebSocket } from './lib/streaming/websocket.ts'
export type { WebSocketEnd, WebSocketOptions, WebSocketRole } from './lib/streaming/websocket.ts'
