// Nothing that is written may have a credential or a value in it: every text that comes out is searched for what was planted.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { format, inspect } from 'node:util'
import { createLogger } from '../log/logger.ts'
import { createMetrics } from '../metrics/metrics.ts'
import { openFake } from './fake.fixture.ts'
import type { FakeRequest } from './fake.fixture.ts'
import { openSecrets } from './secrets.ts'
import { createFakeVault } from './vault.fixture.ts'

/** Everything a program may print of a value. */
function print(value: unknown): string {
  return [
    inspect(value, { depth: 12, showHidden: true, getters: true }),
    format('%s %o %j', value, value, value),
    value instanceof Error
      ? `${value.stack} ${JSON.stringify(process.report.getReport(value))}`
      : JSON.stringify(value),
  ].join('\n')
}

/** A provider at its worst: it repeats what it was sent, in its answer and in its headers. */
function echo(status: number) {
  return ({ headers, body, url }: FakeRequest) => {
    const sent = `${url.href} ${JSON.stringify(headers)} ${decodeURIComponent(body)}`
    const texts = {
      message: sent,
      Message: sent,
      error_description: sent,
      __type: 'SignatureDoesNotMatch',
      errors: [sent],
    }
    return {
      status,
      headers: { 'metadata-flavor': 'Google' },
      body: { ...texts, error: { code: 'Bad', message: sent } },
    }
  }
}

describe('what is written', () => {
  it('has no credential and no value in it, whatever providers answer', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'fairlead-leaks-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const { privateKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      publicKeyEncoding: { type: 'spki', format: 'pem' },
    })
    const write = (name: string, text: string): string => {
      writeFileSync(join(folder, name), text)
      return join(folder, name)
    }
    write('value', 'planted-file-value')
    write('json', '{"planted-half')
    let text = ''
    const sink = { write: (line: string) => void (text += line), flush() {} }
    const log = createLogger({ level: 'trace', sink })
    const pretty = createLogger({ level: 'trace', format: 'pretty', sink })

    for (const status of [200, 307, 400, 401, 403, 404, 429, 500]) {
      const server = await openFake(echo(status))
      t.after(async () => await server[Symbol.asyncDispose]())
      const base = { HOME: folder, SERVICE_ACCOUNT_DIR: folder }
      const google = {
        type: 'service_account',
        client_email: 'a@b',
        private_key: privateKey,
        token_uri: `${server.url}/t`,
      }
      const user = {
        type: 'authorized_user',
        client_id: 'c',
        client_secret: 'planted-user-secret',
        refresh_token: 'planted-refresh',
        token_uri: `${server.url}/t`,
      }
      const aws = { ...base, AWS_REGION: 'eu-west-1', AWS_ENDPOINT_URL: server.url }
      const entra = { ...base, AZURE_TENANT_ID: 't', AZURE_CLIENT_ID: 'c', AZURE_AUTHORITY_HOST: server.url }
      const vault = { ...base, VAULT_ADDR: server.url }
      const google_ = (file: object, name: string) => ({
        ...base,
        GOOGLE_APPLICATION_CREDENTIALS: write(name, JSON.stringify(file)),
        CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER: server.url,
      })
      const cases: ReadonlyArray<readonly [Record<string, string>, string]> = [
        [
          {
            ...aws,
            AWS_ACCESS_KEY_ID: 'planted-id',
            AWS_SECRET_ACCESS_KEY: 'planted-key',
            AWS_SESSION_TOKEN: 'planted-session',
          },
          'aws-sm://a#b',
        ],
        [{ ...aws, AWS_ROLE_ARN: 'r', AWS_WEB_IDENTITY_TOKEN_FILE: write('irsa', 'planted-irsa') }, 'aws-ssm://a'],
        [
          {
            ...aws,
            AWS_CONTAINER_CREDENTIALS_FULL_URI: `${server.url}/c`,
            AWS_CONTAINER_AUTHORIZATION_TOKEN: 'planted-pod',
          },
          'aws-sm://a',
        ],
        [google_(google, 'key.json'), 'gcp-sm://p/a'],
        [google_(user, 'user.json'), 'gcp-sm://p/a'],
        [
          { ...base, GCE_METADATA_HOST: server.host, CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER: server.url },
          'gcp-sm://p/a',
        ],
        [{ ...entra, AZURE_CLIENT_SECRET: 'planted-client' }, `azkv://${server.host}/a`],
        [{ ...vault, VAULT_TOKEN: 'planted-vault' }, 'vault://secret/a#b'],
        [{ ...vault, VAULT_ROLE_ID: 'r', VAULT_SECRET_ID: 'planted-secret-id' }, 'vault://secret/a?kv=2'],
        [{ ...vault, VAULT_ROLE: 'r', VAULT_JWT_FILE: write('jwt', 'planted-jwt') }, 'vault://secret/a'],
        [{ A: 'planted-env-value' }, 'env://A#b'],
        [{}, `file://${join(folder, 'json')}#b`],
      ]
      for (const [env, reference] of cases) {
        await using secrets = openSecrets({ env, log, timeoutMs: 500 })
        const error: unknown = await secrets
          .secret(reference)
          .getJson()
          .catch((thrown: unknown) => thrown)
        text += print(error) + print(secrets) + print(secrets.secret(reference))
        pretty.error('it failed', { err: error, secrets, handle: secrets.secret(reference) })
        log.error('it failed', { err: error, secrets, handle: secrets.secret(reference) })
      }
    }

    // Values that were read well, changed and became stale.
    const vault = createFakeVault()
    let isDown = false
    const server = await openFake((request) => (isDown ? echo(500)(request) : vault.answer(request)))
    t.after(async () => await server[Symbol.asyncDispose]())
    const metrics = createMetrics()
    const secrets = openSecrets({ env: { VAULT_ADDR: server.url, VAULT_TOKEN: 'planted-root' }, log, metrics })
    const handle = secrets.secret('vault://database/creds/orders')
    const pool = await handle.use((secret) => ({ secret }))
    handle.onChange((change) => {
      text += print(change)
      throw new Error('the listener fails')
    })
    vault.leaseSeconds = 1
    await handle.refresh()
    isDown = true
    await handle.refresh().catch((error: unknown) => (text += print(error)))
    text += [
      await handle.get(),
      await handle.getJson(),
      await handle.getBytes(),
      await handle.getAccepted(),
      handle,
      secrets,
      pool,
    ]
      .map(print)
      .join('\n')
    text += metrics.render() + print(secrets.health())
    await pool[Symbol.asyncDispose]()
    await secrets.close()

    assert.ok(text.length > 100_000, `${text.length} characters were looked at`)
    assert.match(text, /secret changed/)
    assert.match(text, /the listener fails/)
    for (const planted of ['planted', 'user-1', 'user-2', privateKey.split('\n')[1] ?? '']) {
      const at = text.indexOf(planted)
      assert.equal(at, -1, `"${planted}" in: ${text.slice(Math.max(0, at - 300), at + 40)}`)
    }
  })
})
