import type { Duplex } from 'node:stream'

import type { Piece } from '../storage/collection.ts'

/** Who asks. */
export interface Identity {
  readonly user: string
  readonly groups: readonly string[]
  readonly uid?: string | undefined
  readonly extra?: Readonly<Record<string, readonly string[]>> | undefined
}

/** One request, whichever way it came. */
export interface ApiRequest {
  readonly method: string
  /** Decoded path without query. */
  readonly path: string
  readonly query: URLSearchParams
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly identity: Identity
  /** Who acts as `identity`, when that is somebody else. */
  readonly impersonator?: Identity | undefined
  /** The target as it was sent, and the address it came from; unknown inside this process. */
  readonly target?: string | undefined
  readonly remoteAddress?: string | undefined
  /** Aborts when the client goes away or the server closes. */
  readonly signal: AbortSignal
  /** The client asks to change the protocol of its connection, and it can be changed. */
  readonly isUpgrade?: boolean | undefined
  /** Reads the body; throws a 413 `StatusError` past the limit. */
  readBody(): Promise<Buffer>
}

export interface ApiResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[]>>
  readonly body: ApiBody
}

/**
 * Bytes that are there, in pieces that may be shared with other answers, a stream that writes until it is done, or, with
 * status 101, what becomes of the connection.
 */
export type ApiBody =
  | { readonly pieces: readonly Piece[] }
  | { stream(sink: Sink): Promise<void> }
  | { switchTo(connection: Duplex): Promise<void> }

/** A piece of a stream, once as it is and once with the framing of HTTP/1.1 chunked coding around it. */
export interface Frame {
  readonly line: Buffer
  readonly chunk: Buffer
}

/** Where a stream goes. */
export interface Sink {
  /** Whether it goes to somebody in this process. */
  readonly isLocal: boolean
  write(bytes: Buffer): void
  /** Like `write`, for frames that are shared by many sinks; the array is the sink's from now on. */
  writeFrames(frames: Frame[]): void
  /** Bytes accepted and not yet handed on. */
  readonly waitingBytes: number
  /** Resolves when the receiver has caught up or is gone; one that reads nothing for a minute is cut off. */
  drained(): Promise<void>
}

/** Frames one line for {@link Sink.writeFrames}. */
export function createFrame(line: Buffer): Frame {
  const head = Buffer.from(`${line.length.toString(16)}\r\n`, 'latin1')
  const chunk = Buffer.allocUnsafe(head.length + line.length + 2)
  head.copy(chunk, 0)
  line.copy(chunk, head.length)
  chunk.write('\r\n', head.length + line.length, 'latin1')
  return { line: chunk.subarray(head.length, head.length + line.length), chunk }
}
