/**
 * WebSockets that a stopping service closes properly. The protocol itself is spoken by `ws`, or a library like it.
 *
 * ```ts
 * import { once } from 'node:events'
 * import { WebSocketServer } from 'ws'
 * import { createDrainableServer } from '@fairlead/service/http'
 * import { acceptWebSockets } from '@fairlead/service/websocket'
 *
 * const upgrade = acceptWebSockets(new WebSocketServer({ noServer: true }), (socket) => {
 *   socket.on('message', (data) => socket.send(`you said ${data}`))
 * })
 * const server = createDrainableServer((_request, response) => response.end(), { upgrade })
 * const socket = new WebSocket(`ws://127.0.0.1:${await server.listen(0, '127.0.0.1')}`)
 * await once(socket, 'open')
 * socket.send('hello')
 * const [message] = await once(socket, 'message')
 * console.log(message.data)
 * server.closeAll()
 * ```
 */
export { acceptWebSockets } from './lib/http/websocket.ts'
export type {
  Upgrade,
  UpgradeHandler,
  WebSocketAcceptor,
  WebSocketLike,
  WebSocketOptions,
} from './lib/http/websocket.ts'
