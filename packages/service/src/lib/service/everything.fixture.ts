import { WebSocketServer } from 'ws'
import { z } from 'zod'
import { boolean, choice, defineConfig, duration, integer, list, port, secret, size, text, url } from '../../config.ts'
import { registerOpenTelemetry } from '../otel/register.ts'
import { secrets } from '../secrets/secrets.ts'
import { acceptWebSockets } from '../http/websocket.ts'
import { resource } from '../lifecycle/resource.ts'
import { service } from './definition.ts'
import { run } from './run.ts'

/** A service with everything on, for the tests of what the outside does to one. */
const config = defineConfig(
  {
    name: text({ default: 'everything', maxLength: 20 }),
    workers: integer({ default: 2, min: 1, max: 8 }),
    isOpen: boolean({ default: true }),
    timeout: duration({ default: '5s', max: '1m' }),
    upload: size({ default: '1MiB' }),
    peer: { port: port({ default: 9000 }), url: url({ default: 'http://peer', protocols: ['http'] }) },
    mode: choice(['fast', 'safe'], { default: 'safe' }),
    tags: list(text({ minLength: 2 }), { default: ['ab'] }),
    key: secret({ optional: true }),
  },
  { env: 'ALL_' },
)
const withSecrets =
  process.env['VAULT_ADDR'] === undefined
    ? {}
    : {
        keys: secrets(
          { db: 'vault://secret/db?kv=2#password' },
          { cacheMs: 100, negativeMs: 50, timeoutMs: 300, startTimeoutMs: 700 },
        ),
      }

await run(
  service({
    name: 'everything',
    config,
    use: {
      settings: resource({ config }, ({ config: { name } }) => ({ name }), { health: () => true }),
      ...withSecrets,
    },
    openapi: true,
    overload: true,
    http2: true,
    bodyLimitBytes: 10_000,
    limits: { headersTimeoutMs: 400, requestTimeoutMs: 800, maxHeaderBytes: 8192 },
    admin: { port: 0, host: '127.0.0.1' },
    telemetry: { api: registerOpenTelemetry },
    upgrade: () => acceptWebSockets(new WebSocketServer({ noServer: true }), (socket) => socket.send('hello')),
    onDraining: { registry: () => {} },
    http: (router) =>
      router
        .post('/items', { body: z.object({ name: z.string().max(100), count: z.int() }) }, ({ body }) => body)
        .get('/db', async (context) => ({
          length: 'keys' in context ? (await context.keys.db.get()).reveal().length : 0,
        })),
  }),
)
