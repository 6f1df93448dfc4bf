// The same server must satisfy the official client and ours, and both must end with the same value. Key Vault speaks HTTPS only, with a
// certificate that openssl makes here.
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { promisify } from 'node:util'
import { ClientSecretCredential, WorkloadIdentityCredential } from '@azure/identity'
import { SecretClient } from '@azure/keyvault-secrets'
import { openFake, setEnvironment } from './fake.fixture.ts'
import type { FakeAnswer, FakeRequest, FakeServer } from './fake.fixture.ts'
import { openSecrets } from './secrets.ts'

type Variables = Readonly<Record<string, string>>

const tenant = '11111111-2222-3333-4444-555555555555'
const client = '99999999-8888-7777-6666-555555555555'
const clientSecret = 'planted-client-secret'
const federated = 'planted-federated-token'

async function readByUs(env: Variables, reference: string): Promise<string> {
  await using secrets = openSecrets({ env })
  return (await secrets.secret(reference).get()).reveal()
}

describe('Azure Key Vault', () => {
  const ownAuthorities = getCACertificates('default')
  let folder: string
  let tls: { key: string; cert: string }
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'fairlead-azure-'))
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '2',
        '-keyout',
        key,
        '-out',
        cert,
        ...subject,
      ],
      { stdio: 'pipe' },
    )
    tls = { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
    setDefaultCACertificates([...ownAuthorities, tls.cert])
    writeFileSync(join(folder, 'federated'), federated)
  })
  after(() => {
    setDefaultCACertificates(ownAuthorities)
    rmSync(folder, { recursive: true })
  })

  let vault: FakeServer
  let machine: FakeServer
  let tokens: Map<string, boolean>
  /** What the challenge names; undefined leaves the challenge out. */
  let resource: string | undefined
  beforeEach(async () => {
    tokens = new Map()
    resource = 'https://localhost'
    vault = await openFake(
      (request) => (request.url.pathname.startsWith('/secrets/') ? answerVault(request) : answerEntra(request)),
      tls,
    )
    machine = await openFake(answerMachine)
  })
  afterEach(async () => {
    await vault[Symbol.asyncDispose]()
    await machine[Symbol.asyncDispose]()
  })

  const issue = (kind: string): string => {
    const token = `planted-${kind}-${tokens.size}`
    tokens.set(token, true)
    return token
  }
  const answerVault = ({ url, headers }: FakeRequest): FakeAnswer => {
    const token = /^Bearer (.+)$/.exec(headers['authorization'] ?? '')?.[1]
    const error = (status: number, code: string, message: string, inner?: string): FakeAnswer => ({
      status,
      body: { error: { code, message, ...(inner === undefined ? {} : { innererror: { code: inner } }) } },
    })
    if (token === undefined || tokens.get(token) !== true) {
      const challenge = `Bearer authorization="https://${vault.host}/${tenant}", resource="${resource}"`
      return {
        ...error(401, 'Unauthorized', 'AKV10000: Request is missing a Bearer token.'),
        headers: resource === undefined ? {} : { 'www-authenticate': challenge },
      }
    }
    if (!url.searchParams.get('api-version')) return error(400, 'BadParameter', 'api-version must be specified')
    const [, name, version = 'abc123'] = /^\/secrets\/([^/]+)\/?([^/]+)?\/?$/.exec(url.pathname) ?? []
    if (name === 'forbidden')
      return error(
        403,
        'Forbidden',
        'The user, group or application does not have secrets get permission',
        'ForbiddenByRbac',
      )
    if (name === 'disabled')
      return error(403, 'Forbidden', 'Operation get is not allowed on a disabled secret.', 'SecretDisabled')
    if (name !== 'db-password')
      return error(404, 'SecretNotFound', 'A secret with (name/id) gone was not found in this key vault.')
    return {
      body: {
        value: `s3cret ü ${version}`,
        id: `${vault.url}/secrets/${name}/${version}`,
        attributes: { enabled: true, created: 1, updated: 1 },
      },
    }
  }
  const answerEntra = ({ url, body }: FakeRequest): FakeAnswer => {
    const base = `${vault.url}/${tenant}`
    if (url.pathname.endsWith('/.well-known/openid-configuration'))
      return {
        body: {
          issuer: `${base}/v2.0`,
          authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
          token_endpoint: `${base}/oauth2/v2.0/token`,
          jwks_uri: `${base}/keys`,
        },
      }
    const form = new URLSearchParams(body)
    const isProven =
      form.get('client_secret') === clientSecret ||
      (form.get('client_assertion') === federated &&
        form.get('client_assertion_type') === 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
    const isGood =
      url.pathname === `/${tenant}/oauth2/v2.0/token` &&
      form.get('grant_type') === 'client_credentials' &&
      form.get('client_id') === client &&
      // The client library adds scopes that mean nothing to this grant.
      form.get('scope')?.split(' ').includes('https://localhost/.default') &&
      isProven
    if (isGood)
      return { body: { token_type: 'Bearer', expires_in: 3599, ext_expires_in: 3599, access_token: issue('entra') } }
    const sent = form.get('client_secret') ?? form.get('client_assertion')
    return {
      status: 401,
      body: {
        error: 'invalid_client',
        error_description: `AADSTS7000215: Invalid client secret ${sent} provided.\r\nTrace ID: x`,
      },
    }
  }
  const answerMachine = ({ url, headers }: FakeRequest): FakeAnswer => {
    const isInstance =
      url.pathname.replace(/\/$/, '') === '/metadata/identity/oauth2/token' &&
      url.searchParams.get('api-version') === '2018-02-01'
    const isPlatform = url.pathname === '/msi/token' && url.searchParams.get('api-version') === '2019-08-01'
    if (isInstance && headers['metadata'] !== 'true') return { status: 400, body: { error: 'bad_request' } }
    if (isPlatform && headers['x-identity-header'] !== 'planted-identity-header') return { status: 401, body: {} }
    if ((!isInstance && !isPlatform) || url.searchParams.get('resource') !== 'https://localhost')
      return { status: 404, body: {} }
    const expires_on = String(Math.floor(Date.now() / 1000) + 3600)
    return {
      body: {
        access_token: issue('machine'),
        expires_in: '3599',
        expires_on,
        resource: 'https://localhost',
        token_type: 'Bearer',
      },
    }
  }

  const authority = () => ({ AZURE_TENANT_ID: tenant, AZURE_CLIENT_ID: client, AZURE_AUTHORITY_HOST: vault.url })
  const sources = [
    [
      'a client secret',
      () => ({ ...authority(), AZURE_CLIENT_SECRET: clientSecret }),
      () =>
        new ClientSecretCredential(tenant, client, clientSecret, {
          authorityHost: vault.url,
          disableInstanceDiscovery: true,
        }),
    ],
    [
      'a federated token (workload identity)',
      () => ({ ...authority(), AZURE_FEDERATED_TOKEN_FILE: join(folder, 'federated') }),
      () =>
        new WorkloadIdentityCredential({
          tenantId: tenant,
          clientId: client,
          tokenFilePath: join(folder, 'federated'),
          authorityHost: vault.url,
          disableInstanceDiscovery: true,
        }),
    ],
  ] as const
  for (const [name, variables, credential] of sources) {
    it(`gives the official client and ours the same with ${name}`, async () => {
      const env: Variables = variables()
      using _ = setEnvironment(['AZURE_', 'IDENTITY_', 'MSI_'], env)
      const official = new SecretClient(vault.url, credential(), {
        disableChallengeResourceVerification: true,
        retryOptions: { maxRetries: 0 },
      })
      const { value, properties } = await official.getSecret('db-password')
      const issued = tokens.size
      await using secrets = openSecrets({ env })
      const handle = secrets.secret(`azkv://${vault.host}/db-password`)
      assert.equal((await handle.get()).reveal(), value)
      assert.equal(handle.version, properties.version)
      assert.equal(tokens.size, issued + 1)
    })
  }

  const managed = [
    ['the machine', () => ({ AZURE_POD_IDENTITY_AUTHORITY_HOST: machine.url })],
    [
      'the platform',
      () => ({ IDENTITY_ENDPOINT: `${machine.url}/msi/token`, IDENTITY_HEADER: 'planted-identity-header' }),
    ],
  ] as const
  for (const [name, variables] of managed) {
    it(`gives the official client and ours the same with a managed identity of ${name}`, async () => {
      // The official client finds out once per process which of the two there is.
      const script = `
        import { ManagedIdentityCredential } from '@azure/identity'
        import { SecretClient } from '@azure/keyvault-secrets'
        const options = { disableChallengeResourceVerification: true, retryOptions: { maxRetries: 0 } }
        const client = new SecretClient('${vault.url}', new ManagedIdentityCredential(), options)
        console.log((await client.getSecret('db-password')).value)`
      const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
        cwd: import.meta.dirname,
        env: { ...variables(), NODE_EXTRA_CA_CERTS: join(folder, 'cert.pem') },
        timeout: 20_000,
      })
      const asked = () => machine.requests.splice(0).map(({ url }) => `${url.pathname.replace(/\/$/, '')}${url.search}`)
      const officialAsked = asked()
      assert.equal(`${await readByUs(variables(), `azkv://${vault.host}/db-password`)}\n`, stdout)
      assert.deepEqual(asked(), officialAsked)
    })
  }

  const env = () => ({ ...authority(), AZURE_CLIENT_SECRET: clientSecret })

  it('sends its token with the next request at once, and takes another when it is refused', async () => {
    await using secrets = openSecrets({ env: env() })
    const handle = secrets.secret(`azkv://${vault.host}/db-password?version=v9`)
    assert.equal((await handle.get()).reveal(), 's3cret ü v9')
    const before = vault.requests.length
    await handle.refresh()
    assert.equal(vault.requests.length, before + 1)
    tokens.set('planted-entra-0', false)
    await handle.refresh()
    assert.equal(tokens.size, 2)
  })

  for (const [name, named, code, message] of [
    ['a secret that is not there', 'gone', 'ABSENT', /SecretNotFound: A secret with/],
    ['a secret that is disabled', 'disabled', 'ABSENT', /SecretDisabled: Operation get/],
    ['a secret that is not permitted', 'forbidden', 'DENIED', /ForbiddenByRbac: The user/],
    ['a name that is none', 'a/b', 'ABSENT', /is not "vault-name\/secret"/],
  ] as const) {
    it(`tells of ${name}`, async () =>
      assert.rejects(readByUs(env(), `azkv://${vault.host}/${named}`), {
        code: `FAIRLEAD_SERVICE_SECRET_${code}`,
        message,
      }))
  }

  it('gives nobody a token of another resource', async () => {
    for (const named of ['https://graph.microsoft.com', 'https://host', 'https://host.localhost', undefined]) {
      resource = named
      await assert.rejects(readByUs(env(), `azkv://${vault.host}/db-password`), {
        code: 'FAIRLEAD_SERVICE_SECRET_DENIED',
      })
    }
    assert.equal(tokens.size, 0)
  })

  it('does not repeat a client secret that was refused', async () => {
    const wrong = { ...env(), AZURE_CLIENT_SECRET: 'planted-wrong-secret' }
    await assert.rejects(readByUs(wrong, `azkv://${vault.host}/db-password`), {
      code: 'FAIRLEAD_SERVICE_SECRET_DENIED',
      message:
        /Microsoft Entra gave no token: invalid_client AADSTS7000215: Invalid client secret \[redacted\] provided\.$/,
    })
  })

  it('trusts no certificate that nobody vouches for', async () => {
    setDefaultCACertificates(ownAuthorities)
    try {
      await assert.rejects(readByUs(env(), `azkv://${vault.host}/db-password`), {
        code: 'FAIRLEAD_SERVICE_SECRET_UNAVAILABLE',
        message: /has a certificate that is not trusted \(DEPTH_ZERO_SELF_SIGNED_CERT\)/,
      })
    } finally {
      setDefaultCACertificates([...ownAuthorities, tls.cert])
    }
    assert.equal(vault.requests.length, 0)
  })
})
