import type { SecureContextOptions } from 'node:tls'
import type { UpgradeHandler } from './websocket.ts'

export interface ServerLimits {
  /** To receive all headers of a request, or to finish a TLS handshake. Later is answered 408. Default 10000. */
  readonly headersTimeoutMs?: number | undefined
  /** To receive a whole request. Later is answered 408. Default 60000. */
  readonly requestTimeoutMs?: number | undefined
  /**
   * How long an idle connection is kept. Default 65000: longer than the 60 s of most load balancers, because whoever keeps a
   * connection longer than its peer sends requests into connections that are just being closed.
   */
  readonly keepAliveTimeoutMs?: number | undefined
  /** All headers of a request together. More is answered 431; over HTTP/2 the stream is reset. Default 16384. */
  readonly maxHeaderBytes?: number | undefined
  /** Open connections; one more is answered 503. Default: as many as the process may have files open. */
  readonly maxConnections?: number | undefined
  /** Requests per connection, after which it is closed as in a drain. Default: no limit. Spreads long-lived callers over new instances. */
  readonly maxRequestsPerSocket?: number | undefined
  /** Requests at a time on one HTTP/2 connection; the peer is told. Default 250. */
  readonly maxConcurrentStreams?: number | undefined
  /**
   * How many HTTP/2 requests a peer may take back at once, before its connection is cut (rapid reset, CVE-2023-44487). The
   * allowance grows again by a fifth per second. Default 200.
   */
  readonly maxStreamResets?: number | undefined
}

/** Certificate and key, as PEM. Everything else Node's TLS knows (`ca`, `minVersion`, `requestCert`...) may stand beside them. */
export interface ServerTls extends SecureContextOptions {
  readonly cert: NonNullable<SecureContextOptions['cert']>
  readonly key: NonNullable<SecureContextOptions['key']>
  /** Asks callers for a certificate and refuses those without one signed by `ca`. Default false. */
  readonly requestCert?: boolean | undefined
}

/** A connection or request turned away before a handler saw it. */
export interface Refusal {
  /** What the caller was told; undefined when it was cut off without a word. */
  readonly status: number | undefined
  readonly reason: 'bad-request' | 'headers-too-large' | 'timeout' | 'too-many-connections' | 'tls'
}

export interface ServerOptions extends ServerLimits {
  /** Serves HTTP/2 beside HTTP/1.1 on the same port: by ALPN with `tls`, by prior knowledge (h2c) without. Default false. */
  readonly http2?: boolean | undefined
  /** Serves TLS. Renewed by {@link DrainableServer.renewTls}. */
  readonly tls?: ServerTls | undefined
  /** Takes over WebSocket connections. Without it, and for any other protocol, `Upgrade` is ignored, as RFC 9110 7.8 allows. */
  readonly upgrade?: UpgradeHandler | undefined
  /** Told of each refusal, for a counter. */
  readonly onRefused?: ((refusal: Refusal) => void) | undefined
}
