import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { TestContext } from 'node:test'
import { inspect } from 'node:util'
import { resource } from '../lifecycle/resource.ts'
import { startResources } from '../lifecycle/start.ts'
import { createLogger } from '../log/logger.ts'
import { createMetrics } from '../metrics/metrics.ts'
import { openFake } from './fake.fixture.ts'
import type { FakeServer } from './fake.fixture.ts'
import { openSecrets, resolveSecretReference, secret, secrets } from './secrets.ts'
import { createFakeVault } from './vault.fixture.ts'
import type { FakeVault } from './vault.fixture.ts'

const log = createLogger({ level: 'silent' })

/** A Vault that can be taken away. */
async function openVault(
  t: TestContext,
): Promise<{ server: FakeServer; vault: FakeVault; env: Record<string, string>; outage: { isOn: boolean } }> {
  const vault = createFakeVault()
  const outage = { isOn: false }
  const sealed = { status: 503, body: { errors: ['Vault is sealed'] } }
  const server = await openFake((request) => (outage.isOn ? sealed : vault.answer(request)))
  t.after(async () => await server[Symbol.asyncDispose]())
  return { server, vault, outage, env: { VAULT_ADDR: server.url, VAULT_TOKEN: 'planted-root' } }
}

describe('openSecrets', () => {
  it('reads once for all fields of a secret', async (t) => {
    const { server, env } = await openVault(t)
    await using store = openSecrets({ env })
    const database = 'vault://database/creds/orders'
    const [user, password] = await Promise.all([
      store.secret(`${database}#username`).get(),
      store.secret(`${database}#password`).get(),
    ])
    assert.deepEqual([user.reveal(), password.reveal()], ['user-1', 'planted-1'])
    assert.equal(server.requests.filter(({ url }) => url.pathname === '/v1/database/creds/orders').length, 1)
    assert.equal(store.secret(database), store.secret(database))
  })

  it('bounds how many are open', async () => {
    await using store = openSecrets({ env: {}, maxSecrets: 2 })
    store.secret('env://A')
    store.secret('env://B')
    assert.throws(() => store.secret('env://C'), { code: 'FAIRLEAD_SERVICE_SECRET_LIMIT' })
    store.secret('env://A#field')
  })

  it('tells its health and its metrics', async (t) => {
    const { env, outage } = await openVault(t)
    const metrics = createMetrics()
    let time = 1000
    await using store = openSecrets({ env, metrics, now: () => time, cacheMs: 1000, refreshMs: 0 })
    const handle = store.secret('vault://secret/orders/db#password')
    assert.equal(store.health().status, 'up')
    await handle.get()
    outage.isOn = true
    time += 4000
    await handle.get()
    const {
      status,
      secrets: [found],
    } = store.health()
    assert.equal(status, 'degraded')
    assert.deepEqual([found?.state, found?.version, found?.ageMs], ['stale', '2', 4000])
    assert.equal(found?.error, 'Cannot read secret "vault://secret/orders/db" of Vault: 503: Vault is sealed')
    const text = metrics.render()
    assert.match(text, /^fairlead_service_secret_age_seconds\{secret="vault:\/\/secret\/orders\/db"\} 4$/m)
    assert.match(text, /^fairlead_service_secret_stale\{.*\} 1$/m)
    assert.match(text, /^fairlead_service_secret_reads_total\{provider="Vault",outcome="error"\} 1$/m)
    // Another store of the same service.
    await using other = openSecrets({ env, metrics })
    await assert.rejects(other.secret('vault://secret/orders/db').get())
    assert.equal(other.health().status, 'down')
  })

  it('closes within its deadline whether the provider answers or not', async (t) => {
    const held = Promise.withResolvers<never>()
    held.promise.catch(() => {})
    const server = await openFake(() => held.promise)
    t.after(async () => {
      held.reject(new Error('over'))
      await server[Symbol.asyncDispose]()
    })
    const store = openSecrets({ env: { VAULT_ADDR: server.url, VAULT_TOKEN: 'planted' }, timeoutMs: 100 })
    const reading = assert.rejects(store.secret('vault://secret/a').get(), { code: 'FAIRLEAD_SERVICE_SECRET_CLOSED' })
    await new Promise(setImmediate)
    await store.close()
    await reading
    assert.throws(() => store.secret('env://A'), { code: 'FAIRLEAD_SERVICE_SECRET_CLOSED' })
  })
})

describe('what a provider may answer', () => {
  for (const [name, answer, message] of [
    [
      'a redirect',
      { status: 307, headers: { location: 'http://127.0.0.1:1/' }, body: '' },
      /answered with a redirect \(307\), which is not followed/,
    ],
    ['a page', { status: 200, body: '<html>planted</html>' }, /sys\/internal|does not tell which engine/],
    ['too much', { status: 200, body: 'x'.repeat(2 * 1024 * 1024 + 1) }, /more than 2097152 bytes/],
  ] as const) {
    it(`is refused when it is ${name}`, async (t) => {
      const server = await openFake(() => answer)
      t.after(async () => await server[Symbol.asyncDispose]())
      await using store = openSecrets({ env: { VAULT_ADDR: server.url, VAULT_TOKEN: 'planted-token' } })
      await assert.rejects(store.secret('vault://secret/a').get(), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'FAIRLEAD_SERVICE_SECRET_UNAVAILABLE')
        assert.match(error.message, message)
        assert.doesNotMatch(inspect(error), /planted/)
        return true
      })
    })
  }

  it('is waited for no longer than the deadline, in the middle of an answer too', async (t) => {
    const { createServer } = await import('node:net')
    const server = createServer((socket) => void socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.after(() => server.close())
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : undefined
    await using store = openSecrets({
      env: { VAULT_ADDR: `http://127.0.0.1:${port}`, VAULT_TOKEN: 'a' },
      timeoutMs: 50,
    })
    await assert.rejects(store.secret('vault://secret/a').get(), {
      code: 'FAIRLEAD_SERVICE_SECRET_UNAVAILABLE',
      message: /gave no answer within 50 ms/,
    })
  })
})

describe('secrets', () => {
  it('are read before the service is ready, and closed after what needs them', async (t) => {
    const { env, vault } = await openVault(t)
    const keys = secrets({ database: 'vault://database/creds/orders#password', greeting: 'env://GREETING' })
    const pool = resource(
      { keys },
      (needs) => needs.keys.database.use((password) => ({ password: password.reveal() })),
      { stop: () => assert.deepEqual(vault.revoked, []) },
    )
    const running = await startResources({ keys, pool }, { log, env: { ...env, GREETING: 'hello' } })
    assert.equal(running.values.pool.current.password, 'planted-1')
    assert.equal((await running.values.keys.greeting.get()).reveal(), 'hello')
    await running.stop()
    assert.equal(vault.revoked.length, 1)
    await assert.rejects(running.values.keys.greeting.get(), { code: 'FAIRLEAD_SERVICE_SECRET_CLOSED' })
  })

  it('wait for a provider that is not up yet, and say why when it stays away', async (t) => {
    const { env, outage, server } = await openVault(t)
    outage.isOn = true
    const one = secret('vault://secret/orders/db#password')
    const starting = startResources({ one }, { log, env })
    while (server.requests.length < 3) await new Promise(setImmediate)
    outage.isOn = false
    const running = await starting
    assert.equal((await running.values.one.get()).reveal(), 's3cret ü')
    await running.stop()

    outage.isOn = true
    const never = secret('vault://secret/orders/db#password', { startTimeoutMs: 300 })
    await assert.rejects(startResources({ never }, { log, env }), {
      code: 'FAIRLEAD_SERVICE_START',
      message: /^Cannot start resource "never": Cannot read secret "vault:.*" of Vault: .*503: Vault is sealed/,
    })
  })

  it('do not wait for what is absent', async (t) => {
    const { env, server } = await openVault(t)
    const gone = secret('vault://secret/gone')
    await assert.rejects(startResources({ gone }, { log, env }), { message: /404: nothing there/ })
    assert.equal(server.requests.filter(({ url }) => url.pathname.endsWith('/data/gone')).length, 1)
  })

  it('make the service degraded while one is stale', async (t) => {
    const { env, outage } = await openVault(t)
    const one = secret('vault://secret/orders/db#password')
    assert.equal(one.critical, false)
    const running = await startResources({ one }, { log, env })
    await one.health(running.values.one, AbortSignal.abort())
    outage.isOn = true
    await assert.rejects(running.values.one.refresh())
    await assert.rejects(one.health(running.values.one, AbortSignal.abort()), { message: /503: Vault is sealed/ })
    await running.stop()
  })

  it('find a mistake in a reference where it is written', () => {
    assert.throws(() => secrets({ a: 'valt://x' }), { code: 'FAIRLEAD_SERVICE_SECRET_REFERENCE' })
  })
})

describe('resolveSecretReference', () => {
  it('reads references, and takes any other text as the secret', async () => {
    await using store = openSecrets({ env: { A: 'one' } })
    assert.equal((await resolveSecretReference('env://A', store)).reveal(), 'one')
    for (const text of ['hunter2', 'postgres://a:b@c/d', ''])
      assert.equal((await resolveSecretReference(text, store)).reveal(), text)
  })
})
