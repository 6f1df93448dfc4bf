import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { resource } from '../lifecycle/resource.ts'
import { createLogger } from '../log/logger.ts'
import { service } from '../service/definition.ts'
import { start } from '../service/start.ts'
import { registerInConsul } from './consul-registration.ts'
import { startFakeConsul } from './consul.fixture.ts'

describe('a service that registers in Consul', () => {
  it('is registered while it runs, and taken out as the first step of its drain', async () => {
    await using consul = await startFakeConsul()
    const steps: string[] = []
    const definition = service({
      name: 'orders',
      use: {
        registration: resource(
          () =>
            registerInConsul({
              name: 'orders',
              port: 8080,
              host: '127.0.0.1',
              id: 'o',
              address: consul.url,
              env: {},
              check: { kind: 'http', path: '/readyz' },
            }),
          { stop: () => void steps.push('stopped') },
        ),
      },
      onDraining: {
        consul: async ({ registration }) => {
          await registration.deregister()
          steps.push(`registered while it drains: ${consul.registered.size}`)
        },
      },
      http: (router) => router.get('/', () => 'orders'),
    })
    const app = await start(definition, {
      host: '127.0.0.1',
      port: 0,
      log: createLogger({ level: 'silent' }),
      env: {},
    })
    assert.equal(consul.registered.size, 1)
    await app.stop()
    assert.deepEqual(steps, ['registered while it drains: 0', 'stopped'])
  })
})
