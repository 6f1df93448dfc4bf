// One instance of the service that drain-rig.ts restarts: requests, HTTP/2, WebSockets and event streams on one port.
import { setTimeout as sleep } from 'node:timers/promises'
import { createDrainableServer, createHandler, createRouteTable, drain, events } from '@fairlead/service/http'
import { createLogger } from '@fairlead/service/log'
import { acceptWebSockets } from '@fairlead/service/websocket'
import { WebSocketServer } from 'ws'

const table = createRouteTable()
table.router.post('/work', async ({ request }) => {
  const body = await request.json()
  await sleep(2)
  return body
})
table.router.get('/events', ({ node }) => {
  const last = Number(node.request.headers['last-event-id'] ?? 0)
  return events(async function* (signal) {
    for (let id = last + 1; !signal.aborted; id += 1) {
      yield { id: String(id), data: { id } }
      await sleep(10, undefined, { signal })
    }
  })
})
const upgrade = acceptWebSockets(
  new WebSocketServer({ noServer: true }),
  (socket) => void socket.on('message', (data) => socket.send((data as Buffer).toString())),
)
const handle = createHandler({ match: table.match, log: createLogger({ level: 'silent' }) })
const server = createDrainableServer(handle, { http2: true, upgrade })
const port = await server.listen(0, '127.0.0.1')
process.stdout.write(`${JSON.stringify({ port })}\n`)

// Whoever started it is gone.
process.stdin.resume().once('end', () => process.exit(1))
process.once('SIGTERM', () => {
  // As in Kubernetes, only quicker: traffic moves away a little after the signal.
  void drain(server, { delayMs: 100, idleGraceMs: 100, goodbyeSpreadMs: 50, timeoutMs: 10_000 }).then((drained) => {
    process.stdout.write(`${JSON.stringify(drained)}\n`)
    process.exit(0)
  })
})
