import type { BodyStream } from './body.ts'

export type HeaderMap = Record<string, string | string[]>

/** A request as an endpoint gets it. */
export interface UpstreamRequest {
  readonly method: string
  /** With the query. */
  readonly path: string
  readonly headers: HeaderMap
  /** Bytes can be sent again; a stream is read only once the request has a connection. */
  readonly body: Buffer | BodyStream | null
}

/** Told of the answer. Exactly one of `onEnd` and `onError` is the last. */
export interface UpstreamHandler {
  /** The request is about to be written: from here on the endpoint may have seen it. */
  onSend(): void
  /** `isWhole`: nothing comes behind it. */
  onHead(status: number, headers: HeaderMap, isWhole?: boolean): void
  /** False: no more until {@link Sending.resume}. */
  onData(chunk: Buffer): boolean
  onEnd(trailers: HeaderMap | undefined): void
  onError(error: Error): void
}

/** A request under way. */
export interface Sending {
  resume(): void
  /** Ends it; `onError` follows unless it had ended. */
  abort(error: Error): void
}

/** Connections to one endpoint. */
export interface Upstream {
  send(request: UpstreamRequest, handler: UpstreamHandler): Sending
  /** Requests under way go on to their end; resolves when they have. */
  close(): Promise<void>
  /** Ends everything at once. */
  destroy(): void
}

/** Waiting for the head of an answer, and for its next bytes: bounds for what hangs. Routes may state shorter ones. */
export const headersTimeoutMs = 300_000
export const bodyTimeoutMs = 3_600_000
