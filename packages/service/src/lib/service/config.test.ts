import assert from 'node:assert/strict'
import { mkdtempDisposableSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { defineConfig } from '../config/define.ts'
import { integer, text } from '../config/values.ts'
import { resource } from '../lifecycle/resource.ts'
import { createLogger } from '../log/logger.ts'
import { service } from './definition.ts'
import { start } from './start.ts'

const log = createLogger({ level: 'silent' })
const options = { host: '127.0.0.1', port: 0, log }

describe('service with a configuration', () => {
  it('gives handlers the current value, resources the value and its changes, and degrades while a reload is refused', async () => {
    using folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-config-'))
    const write = (size: string): void => writeFileSync(join(folder.path, 'size'), size)
    write('1')
    const config = defineConfig({ name: text(), size: integer() }, { env: 'APP_', dir: folder.path })
    const sizes: number[] = []
    const pool = resource({ config, live: config.live }, ({ config: { name }, live }) => {
      live.onChange(['size'], ({ value }) => sizes.push(value.size))
      return { name }
    })
    await using app = await start(
      service({
        name: 'configured',
        config,
        use: { pool },
        http: (router) =>
          router.get('/', ({ config: { size, name }, pool: { name: poolName } }) => [
            size satisfies number,
            name,
            poolName,
          ]),
        checks: { small: { check: ({ config: { size } }) => size < 10, critical: false } },
      }),
      { ...options, env: { APP_NAME: 'x' } },
    )
    const get = async (path: string): Promise<unknown> => await (await fetch(app.url + path)).json()
    assert.deepEqual(await get('/'), [1, 'x', 'x'])
    write('2')
    while (app.use.config.size !== 2) await sleep(5)
    assert.deepEqual([await get('/'), sizes], [[2, 'x', 'x'], [2]])
    assert.equal(app.config?.describe().version, 2)
    write('many')
    while (app.config?.health().status !== 'degraded') await sleep(5)
    const report = (await get('/health')) as { status: string; components: Record<string, { error?: string }> }
    assert.equal(report.status, 'DEGRADED')
    assert.match(report.components['config']?.error ?? '', /size is "many", expected a whole number/)
    assert.equal((await fetch(`${app.url}/health/ready`)).status, 200)
    assert.match(app.metrics.render(), /config_reload_failures_total 1/)
  })

  it('takes the schema of another library, and does not start with a value that is wrong', async () => {
    const config = defineConfig(z.object({ size: z.number() }), { env: 'APP_' })
    const configured = service({ name: 'x', config, fetch: (_request, { config: { size } }) => size + 1 })
    await using app = await start(configured, { ...options, env: { APP_SIZE: '7' } })
    assert.equal(await (await fetch(app.url)).json(), 8)
    await assert.rejects(start(configured, { ...options, env: { APP_SIZE: 'x' } }), {
      code: 'FAIRLEAD_SERVICE_CONFIG',
      message: /size is not valid: .*expected number.* \(env APP_SIZE\)/,
    })
  })
})
