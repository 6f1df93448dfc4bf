// What a service leaves in its process. By itself in a file: connections of other tests would be in the way.
import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { defineConfig, integer } from '../../config.ts'
import { resource } from '../lifecycle/resource.ts'
import { createLogger } from '../log/logger.ts'
import { service } from './definition.ts'
import { start } from './start.ts'

const log = createLogger({ level: 'silent' })
const options = { host: '127.0.0.1', port: 0, log, env: {} }

describe('start', () => {
  const failures: Readonly<Record<string, () => Promise<unknown>>> = {
    'a setting is wrong': () => start(service({ name: 'x', fetch: () => 1 }), { ...options, env: { PORT: 'http' } }),
    'a variable of OpenTelemetry is wrong': () =>
      start(service({ name: 'x', fetch: () => 1 }), { ...options, env: { OTEL_TRACES_SAMPLER: 'perhaps' } }),
    'the configuration is wrong': () =>
      start(service({ name: 'x', config: defineConfig({ size: integer() }, { env: 'X_' }), fetch: () => 1 }), options),
    'the certificate is none': () =>
      start(service({ name: 'x', tls: { cert: 'x', key: 'y' }, fetch: () => 1 }), options),
    'a policy is wrong': () => start(service({ name: 'x', overload: { concurrency: -1 }, fetch: () => 1 }), options),
    'the admin port is taken': async () => {
      await using other = await start(service({ name: 'y', fetch: () => 1 }), options)
      await start(service({ name: 'x', admin: { port: other.port }, fetch: () => 1 }), options)
    },
    'a resource fails': () =>
      start(
        service({
          name: 'x',
          admin: { port: 0 },
          overload: true,
          config: defineConfig({ size: integer({ default: 1 }) }, { env: 'X_', dir: tmpdir() }),
          use: { up: resource(() => 1), down: resource(() => Promise.reject(new Error('refused'))) },
          fetch: () => 1,
        }),
        { ...options, env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' } },
      ),
    'an application fails': () =>
      start(
        service({
          name: 'x',
          app: { kind: 'test', start: () => Promise.reject(new Error('refused')), handle: () => {} },
        }),
        options,
      ),
    'the resource of WebSockets fails': () =>
      start(
        service({
          name: 'x',
          fetch: () => 1,
          upgrade: () => {
            throw new Error('refused')
          },
        }),
        options,
      ),
  }
  for (const [name, begin] of Object.entries(failures)) {
    it(`leaves nothing behind when ${name}`, async () => {
      await nextTurn()
      const before = activeResources()
      await assert.rejects(begin())
      // Handles are closed in the turn after they were told to.
      for (let turn = 0; turn < 5 && activeResources() !== before; turn += 1) await nextTurn()
      assert.equal(activeResources(), before)
    })
  }

  it('leaves nothing behind when it has been stopped', async () => {
    const whole = service({
      name: 'whole',
      admin: { port: 0 },
      overload: true,
      http2: true,
      config: defineConfig({ size: integer({ default: 1 }) }, { env: 'X_', dir: '/nonexistent' }),
      use: { one: resource(() => 1, { health: () => true }) },
      fetch: () => 1,
    })
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' }
    await nextTurn()
    const before = activeResources()
    const app = await start(whole, { ...options, env })
    await app.health()
    await app.stop()
    for (let turn = 0; turn < 5 && activeResources() !== before; turn += 1) await nextTurn()
    assert.equal(activeResources(), before)
  })
})

function activeResources(): string {
  return process.getActiveResourcesInfo().toSorted().join(' ')
}
