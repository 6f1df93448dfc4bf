// One instance of the service that drain-rig.ts restarts: requests, HTTP/2, WebSockets and event streams on one port.
import { setTimeout as sleep } from 'node:timers/promises'
import { run, service } from '@fairlead/service'
import { events } from '@fairlead/service/http'
import { acceptWebSockets } from '@fairlead/service/websocket'
import { WebSocketServer } from 'ws'

// Whoever started it is gone.
process.stdin.resume().once('end', () => process.exit(1))

await run(
  service({
    name: 'drained',
    http2: true,
    upgrade: () =>
      acceptWebSockets(
        new WebSocketServer({ noServer: true }),
        (socket) => void socket.on('message', (data) => socket.send((data as Buffer).toString())),
      ),
    http: (router) =>
      router
        .post('/work', async ({ request }) => {
          const body = await request.json()
          await sleep(2)
          return body
        })
        .get('/events', ({ node }) => {
          const last = Number(node.request.headers['last-event-id'] ?? 0)
          return events(async function* (signal) {
            for (let id = last + 1; !signal.aborted; id += 1) {
              yield { id: String(id), data: { id } }
              await sleep(10, undefined, { signal })
            }
          })
        }),
  }),
)
