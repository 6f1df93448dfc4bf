// The same server must satisfy node-vault and us. Where VAULT_BINARY names a real `vault` or `bao`, that is asked the same things.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import type { TestContext } from 'node:test'
import connectVault from 'node-vault'
import { openFake } from './fake.fixture.ts'
import type { FakeServer } from './fake.fixture.ts'
import { openSecrets } from './secrets.ts'
import { createFakeVault } from './vault.fixture.ts'
import type { FakeVault } from './vault.fixture.ts'

type Variables = Readonly<Record<string, string>>

async function readByUs(env: Variables, reference: string): Promise<string> {
  await using secrets = openSecrets({ env })
  return (await secrets.secret(reference).get()).reveal()
}

describe('Vault', () => {
  let server: FakeServer
  let vault: FakeVault
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'fairlead-vault-'))
    writeFileSync(join(folder, 'token'), 'planted-service-account\n')
    writeFileSync(join(folder, 'secret-id'), 'planted-secret-id\n')
  })
  after(() => rmSync(folder, { recursive: true }))
  beforeEach(async () => {
    vault = createFakeVault()
    server = await openFake(vault.answer)
  })
  afterEach(async () => await server[Symbol.asyncDispose]())

  const role = () => ({ VAULT_ADDR: server.url, VAULT_ROLE: 'orders', SERVICE_ACCOUNT_DIR: folder })

  it('gives node-vault and us the same after a login with a service account', async () => {
    const official = connectVault({ endpoint: server.url })
    const login = await official.kubernetesLogin({
      mount_point: 'kubernetes',
      role: 'orders',
      jwt: 'planted-service-account',
    })
    official.token = login.auth.client_token
    const { data } = await official.read('secret/data/orders/db')
    assert.equal(await readByUs(role(), 'vault://secret/orders/db#password'), data.data.password)
    assert.equal(await readByUs(role(), 'vault://secret/orders/db?version=1#password'), 'old')
    assert.equal(
      await readByUs(role(), 'vault://legacy/orders#password'),
      (await official.read('legacy/orders')).data.password,
    )
  })

  it('gives node-vault and us the same after an AppRole login', async () => {
    const official = connectVault({ endpoint: server.url })
    official.token = (
      await official.approleLogin({ role_id: 'orders-id', secret_id: 'planted-secret-id' })
    ).auth.client_token
    const env = { VAULT_ADDR: server.url, VAULT_ROLE_ID: 'orders-id', VAULT_SECRET_ID_FILE: join(folder, 'secret-id') }
    assert.equal(
      await readByUs(env, 'vault://secret/orders/db#password'),
      (await official.read('secret/data/orders/db')).data.data.password,
    )
  })

  it('revokes the token of its own login, and no other', async () => {
    await readByUs(role(), 'vault://secret/orders/db')
    assert.equal([...vault.tokens.values()].filter(({ isRoot }) => !isRoot).length, 0)
    await readByUs({ VAULT_ADDR: server.url, VAULT_TOKEN: 'planted-root' }, 'vault://secret/orders/db')
    assert.ok(vault.tokens.has('planted-root'))
  })

  it('renews its token at two thirds of its time, and logs in anew where it cannot', async (t: TestContext) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    await using secrets = openSecrets({ env: role(), refreshMs: 0 })
    await secrets.secret('vault://secret/orders/db').get()
    const until = async (path: string): Promise<void> => {
      const before = server.requests.length
      t.mock.timers.tick(400_000)
      while (!server.requests.slice(before).some(({ url }) => url.pathname.endsWith(path)))
        await new Promise(setImmediate)
      for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate)
    }
    await until('/renew-self')
    vault.isRenewable = false
    await until('/auth/kubernetes/login')
  })

  it('logs in again when its token is gone, and not when a permission is missing', async () => {
    await using secrets = openSecrets({ env: role(), negativeMs: 0 })
    const handle = secrets.secret('vault://secret/orders/db#password')
    await handle.get()
    for (const token of vault.tokens.keys()) if (token !== 'planted-root') vault.tokens.delete(token)
    assert.equal((await handle.refresh()).reveal(), 's3cret ü')
    const logins = () => server.requests.filter(({ url }) => url.pathname.endsWith('/login')).length
    assert.equal(logins(), 2)
    await assert.rejects(secrets.secret('vault://secret/forbidden').get(), {
      code: 'FAIRLEAD_SERVICE_SECRET_DENIED',
      message: 'Cannot read secret "vault://secret/forbidden" of Vault: 403: permission denied',
      hint: 'Give the role a policy with: path "secret/data/forbidden" { capabilities = ["read"] }',
    })
    assert.equal(logins(), 2)
  })

  it('renews leases, and takes new credentials when they cannot be renewed any more', async () => {
    let time = 1_000_000
    await using secrets = openSecrets({ env: role(), now: () => time, refreshMs: 0 })
    const handle = secrets.secret('vault://database/creds/orders#username')
    const changes: string[] = []
    handle.onChange(({ previous, current }) => changes.push(`${previous.reveal()}>${current.reveal()}`))
    assert.equal((await handle.get()).reveal(), 'user-1')
    // Two thirds of an hour: until then nobody is asked.
    time += 2_399_000
    await handle.get()
    assert.equal(vault.renewals, 0)
    time += 2000
    assert.equal((await handle.get()).reveal(), 'user-1')
    assert.equal(vault.renewals, 1)
    vault.leaseSeconds = 300
    time += 2_401_000
    assert.equal((await handle.get()).reveal(), 'user-2')
    assert.deepEqual(changes, ['user-1>user-2'])
  })

  it('takes new credentials after a new login, with which the old ones end', async () => {
    await using secrets = openSecrets({ env: role(), refreshMs: 0 })
    const handle = secrets.secret('vault://database/creds/orders#username')
    await handle.get()
    const changed = new Promise((resolve) => handle.onChange(resolve))
    for (const token of vault.tokens.keys()) if (token !== 'planted-root') vault.tokens.delete(token)
    await secrets.secret('vault://secret/orders/db').refresh()
    await changed
    assert.equal((await handle.get()).reveal(), 'user-2')
  })

  it('gives back the lease of a token that is not its own', async () => {
    await readByUs({ VAULT_ADDR: server.url, VAULT_TOKEN: 'planted-root' }, 'vault://database/creds/orders')
    assert.deepEqual(vault.revoked, ['database/creds/orders/lease-1'])
  })

  it('reads the token file of an agent again when the token is gone', async () => {
    const path = join(folder, 'agent')
    writeFileSync(path, 'planted-root')
    await using secrets = openSecrets({ env: { VAULT_ADDR: server.url, VAULT_TOKEN_FILE: path } })
    const handle = secrets.secret('vault://secret/orders/db')
    await handle.get()
    vault.tokens.delete('planted-root')
    vault.tokens.set('planted-next', { isRoot: true })
    writeFileSync(path, 'planted-next\n')
    await handle.refresh()
  })

  it('names the namespace', async () => {
    await readByUs({ ...role(), VAULT_NAMESPACE: 'team' }, 'vault://secret/orders/db?namespace=team%2Fa')
    const named = new Set(server.requests.map(({ headers }) => headers['x-vault-namespace']))
    assert.deepEqual(named, new Set(['team', 'team/a']))
  })

  for (const [name, env, reference, code, message] of [
    ['a path with nothing', {}, 'vault://secret/gone', 'ABSENT', /404: nothing there/],
    ['a version that was deleted', {}, 'vault://secret/orders/db?version=3', 'ABSENT', /404: nothing there/],
    [
      'a role that is refused',
      { VAULT_ROLE: 'other' },
      'vault://secret/orders/db',
      'DENIED',
      /login at auth\/kubernetes was refused: 403: service account \[redacted\] not bound/,
    ],
    [
      'no way to log in',
      { VAULT_ROLE: '', HOME: '/nonexistent' },
      'vault://secret/orders/db',
      'DENIED',
      /no way to log in/,
    ],
  ] as const) {
    it(`tells of ${name}`, async () =>
      assert.rejects(readByUs({ ...role(), ...env }, reference), { code: `FAIRLEAD_SERVICE_SECRET_${code}`, message }))
  }
})

const binary = process.env['VAULT_BINARY']

// Asked by hand and not a test otherwise: there is no package of either that set-up could install.
if (binary !== undefined)
  describe('a real Vault or OpenBao', () => {
    const root = 'root-of-the-test'
    let address: string
    let end: () => Promise<void>
    let official: connectVault.client
    before(async () => {
      const port = await freePort()
      address = `http://127.0.0.1:${port}`
      const args = [
        'server',
        '-dev',
        '-dev-no-store-token',
        `-dev-root-token-id=${root}`,
        `-dev-listen-address=127.0.0.1:${port}`,
      ]
      const child = spawn(binary ?? '', args, { stdio: 'ignore' })
      end = async () => {
        const exited = once(child, 'exit')
        child.kill()
        await exited
      }
      official = connectVault({ endpoint: address, token: root })
      const until = Date.now() + 20_000
      while (!(await official.health().catch(() => undefined))) {
        assert.ok(Date.now() < until, 'it did not start')
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      await official.mount({ mount_point: 'legacy', type: 'kv', options: { version: '1' } })
      await official.mount({ mount_point: 'deep/er', type: 'kv', options: { version: '2' } })
      await official.write('secret/data/orders/db', { data: { password: 'old' } })
      await official.write('secret/data/orders/db', { data: { password: 's3cret ü' } })
      await official.write('deep/er/data/a/b', { data: { password: 'deep' } })
      await official.write('legacy/orders', { password: 'legacy' })
      const rules =
        'path "secret/data/orders/*" { capabilities = ["read"] }\npath "legacy/orders" { capabilities = ["read"] }\npath "deep/er/data/*" { capabilities = ["read"] }\npath "pki/issue/*" { capabilities = ["update"] }'
      await official.addPolicy({ name: 'orders', policy: rules })
      await official.enableAuth({ mount_point: 'approle', type: 'approle' })
      await official.write('auth/approle/role/orders', {
        token_policies: 'orders',
        token_ttl: '6s',
        token_max_ttl: '12s',
      })
    })
    after(async () => await end())

    const appRole = async (): Promise<Variables> => ({
      VAULT_ADDR: address,
      VAULT_ROLE_ID: (await official.read('auth/approle/role/orders/role-id')).data.role_id,
      VAULT_SECRET_ID: (await official.write('auth/approle/role/orders/secret-id', {})).data.secret_id,
    })

    for (const [reference, expected] of [
      ['vault://secret/orders/db#password', 's3cret ü'],
      ['vault://secret/data/orders/db#password', 's3cret ü'],
      ['vault://secret/orders/db?version=1#password', 'old'],
      ['vault://secret/orders/db?kv=2#password', 's3cret ü'],
      ['vault://legacy/orders#password', 'legacy'],
      ['vault://deep/er/a/b#password', 'deep'],
    ] as const) {
      it(`reads ${reference} with a token and with an AppRole`, async () => {
        assert.equal(await readByUs({ VAULT_ADDR: address, VAULT_TOKEN: root }, reference), expected)
        assert.equal(await readByUs(await appRole(), reference), expected)
      })
    }

    it('leaves no token behind', async () => {
      const count = async () =>
        (await official.request({ path: '/auth/token/accessors', method: 'LIST' })).data.keys.length
      const before = await count()
      await readByUs(await appRole(), 'vault://secret/orders/db')
      assert.equal(await count(), before)
    })

    it('keeps reading past the longest life of a token', async () => {
      await using secrets = openSecrets({ env: await appRole() })
      const handle = secrets.secret('vault://secret/orders/db#password')
      const until = Date.now() + 15_000
      // The token has six seconds, and twelve with renewals.
      while (Date.now() < until) {
        assert.equal((await handle.refresh()).reveal(), 's3cret ü')
        await new Promise((resolve) => setTimeout(resolve, 500))
      }
    })

    it('tells what is absent from what is forbidden', async () => {
      const env = await appRole()
      await assert.rejects(readByUs(env, 'vault://secret/orders/gone'), { code: 'FAIRLEAD_SERVICE_SECRET_ABSENT' })
      await assert.rejects(readByUs(env, 'vault://secret/other'), { code: 'FAIRLEAD_SERVICE_SECRET_DENIED' })
      await assert.rejects(readByUs({ ...env, VAULT_SECRET_ID: 'planted' }, 'vault://secret/orders/db'), {
        code: 'FAIRLEAD_SERVICE_SECRET_DENIED',
        message: /login at auth\/approle was refused/,
      })
    })
  })

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
