import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { resource } from '../lifecycle/resource.ts'
import { createLogger } from '../log/logger.ts'
import { openFake } from '../secrets/fake.fixture.ts'
import { service } from '../service/definition.ts'
import { start } from '../service/start.ts'
import { checkConfig, defineConfig } from './define.ts'
import { openConfig } from './open.ts'
import { integer, secret, text } from './values.ts'

const definition = defineConfig(
  { db: { user: text({ default: 'orders' }), password: secret() }, pin: secret(integer(), { optional: true }) },
  { env: 'ORDERS_' },
)

describe('a secret that is a reference', () => {
  it('is read where it says, and parsed as what it is', async () => {
    const env = {
      ORDERS_DB__PASSWORD: 'env://PASSWORD',
      PASSWORD: 'env://not-again',
      ORDERS_PIN: 'env://PIN',
      PIN: '730142',
    }
    await using config = await openConfig(definition, { env })
    assert.equal(config.value.db.password.reveal(), 'env://not-again')
    assert.equal(config.value.pin?.reveal(), 730_142)
    assert.equal(config.origin('db.password'), 'env ORDERS_DB__PASSWORD')
    assert.doesNotMatch(JSON.stringify(config.describe()), /not-again|730142/)
  })

  it('leaves a value of another kind as it is', async () => {
    const env = { ORDERS_DB__USER: 'env://USER', ORDERS_DB__PASSWORD: 'postgres://is-no-scheme' }
    await using config = await openConfig(definition, { env })
    assert.equal(config.value.db.user, 'env://USER')
    assert.equal(config.value.db.password.reveal(), 'postgres://is-no-scheme')
  })

  it('is one problem among others when it cannot be read, without a value in it', async () => {
    const env = { ORDERS_DB__PASSWORD: 'env://NONE', ORDERS_PIN: 'env://PIN', PIN: 'hunter2', ORDERS_DB__USER: '' }
    await assert.rejects(openConfig(definition, { env }), (error: Error & { problems?: unknown }) => {
      assert.match(error.message, /2 problems/)
      assert.match(error.message, /db\.password refers to a secret that cannot be read: .*env:\/\/NONE/)
      assert.match(error.message, /pin is a secret that is not as it should be/)
      assert.doesNotMatch(error.message, /hunter2/)
      return true
    })
  })

  it('is checked for its form where there is no provider to ask', async () => {
    const check = async (password: string): Promise<readonly string[]> =>
      (await checkConfig(definition, { env: { ORDERS_DB__PASSWORD: password } })).problems.map(({ message }) => message)
    assert.deepEqual(await check('vault://secret/orders/db#password'), [])
    assert.match((await check('vault://secret/orders/db?colour=blue'))[0] ?? '', /unknown option/)
  })

  it('makes a new value of the configuration when it changes', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'fairlead-reference-'))
    const file = join(folder, 'password')
    writeFileSync(file, 'first')
    const pool = resource({ config: definition, live: definition.live }, ({ config, live }) => {
      const used = [config.db.password.reveal()]
      live.onChange(['db.password'], ({ value }) => used.push(value.db.password.reveal()))
      return used
    })
    const orders = service({ name: 'orders', config: definition, use: { pool }, fetch: () => 1 })
    {
      await using app = await start(orders, {
        host: '127.0.0.1',
        port: 0,
        log: createLogger({ level: 'silent' }),
        env: { ORDERS_DB__PASSWORD: `file://${file}` },
      })
      const changed = app.config?.changes()[Symbol.asyncIterator]().next()
      writeFileSync(file, 'second')
      assert.deepEqual((await changed)?.value?.changed, ['db.password'])
      assert.deepEqual(app.use.pool, ['first', 'second'])
    }
    rmSync(folder, { recursive: true })
  })

  it('is asked for once, and kept while its provider fails', async () => {
    let isDown = false
    await using vault = await openFake(({ url }) => {
      if (isDown) return { status: 503, body: { errors: ['Vault is sealed'] } }
      const data = { data: { password: 's3cret' }, metadata: { version: 1 } }
      return { body: url.pathname.includes('/data/') ? { data } : { data: { ttl: 0, renewable: false } } }
    })
    const env = {
      VAULT_ADDR: vault.url,
      VAULT_TOKEN: 'token',
      ORDERS_DB__PASSWORD: 'vault://secret/orders/db?kv=2#password',
    }
    const app = await start(service({ name: 'orders', config: definition, fetch: () => 1 }), {
      host: '127.0.0.1',
      port: 0,
      log: createLogger({ level: 'silent' }),
      env,
    })
    assert.equal(JSON.stringify(app.config?.value), '{"db":{"user":"orders","password":"[redacted]"}}')
    assert.equal((await app.health()).status, 'UP')
    isDown = true
    await app.config?.reload()
    assert.equal(app.use.config.db.password.reveal(), 's3cret')
    await app.stop()
    isDown = false
    const asked = vault.requests.filter(({ url }) => url.pathname === '/v1/secret/data/orders/db').length
    assert.equal(asked, 1)
  })
})
