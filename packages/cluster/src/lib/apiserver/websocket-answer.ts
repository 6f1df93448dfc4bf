import { WebSocket } from '@fairlead/kube/streaming'

import type { ApiRequest, ApiResponse } from './exchange.ts'
import type { Negotiated } from './streaming/negotiate.ts'

/** Whether an answer is to come over a WebSocket: some clients (fabric8, browsers) ask for that first. */
export function asksWebSocket({ headers, isUpgrade }: ApiRequest): boolean {
  return isUpgrade === true && (headers['upgrade'] ?? '').toLowerCase() === 'websocket'
}

/** Makes the connection a WebSocket on which `run` sends until it is done, or the signal it is given aborts. */
export function switchToWebSocket(
  request: ApiRequest,
  { headers }: Negotiated,
  run: (webSocket: WebSocket, signal: AbortSignal) => Promise<void>,
): ApiResponse {
  return {
    status: 101,
    headers,
    body: {
      async switchTo(connection) {
        const left = new AbortController()
        const leave = (): void => left.abort()
        request.signal.addEventListener('abort', leave)
        // What a listener says means nothing; that it leaves ends the answer.
        const webSocket = new WebSocket(connection, { role: 'server', onMessage: () => undefined })
        void webSocket.ended.then(leave)
        await run(webSocket, left.signal)
        request.signal.removeEventListener('abort', leave)
        webSocket.close()
        await webSocket.ended
      },
    },
  }
}
