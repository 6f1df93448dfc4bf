import type { WebSocket } from '@fairlead/kube/streaming'

import type { ApiRequest, ApiResponse, Frame, Sink } from './exchange.ts'
import type { Format } from './negotiate.ts'
import { negotiateUpgrade } from './streaming/negotiate.ts'
import { switchToWebSocket } from './websocket-answer.ts'

/** Serves a watch over a WebSocket: each event is a message, as text in JSON, as bytes in protobuf. */
export function watchOverWebSocket(
  request: ApiRequest,
  format: Format,
  run: (sink: Sink, signal: AbortSignal) => Promise<void>,
): ApiResponse {
  // Like upstream, whatever subprotocols a client offers: none is spoken.
  const { 'sec-websocket-protocol': _offered, ...headers } = request.headers
  const negotiated = negotiateUpgrade({ ...request, headers }, { webSocket: [], spdy: [] })
  return switchToWebSocket(request, negotiated, (webSocket, signal) =>
    run(new WebSocketSink(webSocket, format), signal),
  )
}

/** Bytes of the length that stands before a protobuf event: a message has its own. */
const lengthBytes = 4

class WebSocketSink implements Sink {
  readonly isLocal = false
  readonly #webSocket: WebSocket
  readonly #isText: boolean

  constructor(webSocket: WebSocket, format: Format) {
    this.#webSocket = webSocket
    this.#isText = format.encoding === 'json'
  }

  get waitingBytes(): number {
    return this.#webSocket.waitingBytes
  }

  write(bytes: Buffer): void {
    if (this.#isText) this.#webSocket.send([bytes], 'text')
    else this.#webSocket.send([bytes.subarray(lengthBytes)])
  }

  writeFrames(frames: readonly Frame[]): void {
    for (const { line } of frames) this.write(line)
  }

  async drained(): Promise<void> {
    await this.#webSocket.drained()
  }
}
