// The same server must satisfy the official client and ours, and both must end with the same value.
import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { SecretManagerServiceClient } from '@google-cloud/secret-manager'
import { openFake, setEnvironment } from './fake.fixture.ts'
import type { FakeAnswer, FakeRequest, FakeServer } from './fake.fixture.ts'
import { crc32c } from './gcp.ts'
import { openSecrets } from './secrets.ts'

type Variables = Readonly<Record<string, string>>

const cloudScope = 'https://www.googleapis.com/auth/cloud-platform'
const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const subjectToken = 'planted-subject-token'

async function readByUs(env: Variables, reference: string): Promise<string> {
  await using secrets = openSecrets({ env })
  return (await secrets.secret(reference).get()).reveal()
}

async function readByOfficial(env: Variables, name: string): Promise<string> {
  using _ = setEnvironment(['GOOGLE_', 'GCE_', 'GCLOUD_', 'CLOUDSDK_', 'HOME', 'METADATA_'], env)
  const { hostname, port } = new URL(env['CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER'] ?? '')
  const client = new SecretManagerServiceClient({
    fallback: true,
    apiEndpoint: hostname,
    port: Number(port),
    protocol: 'http',
  })
  try {
    const [{ payload }] = await client.accessSecretVersion({ name }, { retry: null, timeout: 3000 })
    return Buffer.from(payload?.data ?? '').toString()
  } finally {
    await client.close()
  }
}

describe('Google Secret Manager', () => {
  let google: FakeServer
  let folder: string
  /** Access tokens that were issued, and whether they still count. */
  let tokens: Map<string, boolean>
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'fairlead-google-'))
    writeFileSync(join(folder, 'subject'), subjectToken)
  })
  after(() => rmSync(folder, { recursive: true }))
  beforeEach(async () => {
    tokens = new Map()
    google = await openFake(answer)
  })
  afterEach(async () => await google[Symbol.asyncDispose]())

  const issue = (kind: string): string => {
    const token = `planted-${kind}-${tokens.size}`
    tokens.set(token, true)
    return token
  }
  const answer = (request: FakeRequest): FakeAnswer => {
    const { url, headers, body } = request
    const form = new URLSearchParams(headers['content-type']?.includes('json') ? '' : body)
    if (url.pathname.startsWith('/computeMetadata/')) return answerMetadata(request)
    if (url.pathname === '/token') return answerGrant(form)
    if (url.pathname === '/sts') return answerExchange(form)
    if (url.pathname.endsWith(':generateAccessToken')) {
      if (!headers['authorization']?.startsWith('Bearer planted-federated')) return { status: 401, body: {} }
      const { scope } = JSON.parse(body) as { scope?: string[] }
      if (scope?.[0] !== cloudScope) return { status: 400, body: { error: { status: 'INVALID_ARGUMENT' } } }
      return { body: { accessToken: issue('impersonated'), expireTime: '2099-01-01T00:00:00Z' } }
    }
    return answerSecret(request)
  }
  const answerMetadata = ({ url, headers }: FakeRequest): FakeAnswer => {
    const flavor = { 'metadata-flavor': 'Google' }
    if (headers['metadata-flavor'] !== 'Google') return { status: 403, body: 'Missing Metadata-Flavor:Google header.' }
    if (url.pathname.endsWith('/token'))
      return { headers: flavor, body: { access_token: issue('metadata'), expires_in: 3599, token_type: 'Bearer' } }
    if (url.pathname.endsWith('/project-id')) return { headers: flavor, body: 'shop' }
    if (url.pathname.endsWith('/universe-domain') || url.pathname.endsWith('/universe/universe-domain'))
      return { headers: flavor, body: 'googleapis.com' }
    return { headers: flavor, body: 'instance' }
  }
  const answerGrant = (form: URLSearchParams): FakeAnswer => {
    const [header = '', claims = '', signature = ''] = form.get('assertion')?.split('.') ?? []
    const isSigned = verify(
      'RSA-SHA256',
      Buffer.from(`${header}.${claims}`),
      publicKey,
      Buffer.from(signature, 'base64url'),
    )
    const { alg, kid } = JSON.parse(Buffer.from(header, 'base64url').toString()) as Record<string, unknown>
    const { iss, scope, aud, exp, iat } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as Record<
      string,
      unknown
    >
    const isGood =
      form.get('grant_type') === 'urn:ietf:params:oauth:grant-type:jwt-bearer' &&
      isSigned &&
      alg === 'RS256' &&
      kid === 'key-1' &&
      iss === 'orders@shop.iam.gserviceaccount.com' &&
      scope === cloudScope &&
      aud === `${google.url}/token` &&
      Math.abs(Number(iat) * 1000 - Date.now()) < 60_000 &&
      Number(exp) - Number(iat) === 3600
    if (isGood) return { body: { access_token: issue('grant'), expires_in: 3600, token_type: 'Bearer' } }
    return { status: 400, body: { error: 'invalid_grant', error_description: `Invalid JWT ${form.get('assertion')}` } }
  }
  const answerExchange = (form: URLSearchParams): FakeAnswer => {
    const isGood =
      form.get('grant_type') === 'urn:ietf:params:oauth:grant-type:token-exchange' &&
      form.get('audience') === '//iam.googleapis.com/projects/1/pool' &&
      form.get('scope') === cloudScope &&
      form.get('requested_token_type') === 'urn:ietf:params:oauth:token-type:access_token' &&
      form.get('subject_token') === subjectToken &&
      form.get('subject_token_type') === 'urn:ietf:params:oauth:token-type:jwt'
    if (isGood)
      return {
        body: { access_token: issue('federated'), expires_in: 3600, issued_token_type: 'x', token_type: 'Bearer' },
      }
    return {
      status: 400,
      body: { error: 'invalid_target', error_description: `no pool for ${form.get('subject_token')}` },
    }
  }
  const answerSecret = ({ url, headers }: FakeRequest): FakeAnswer => {
    const error = (code: number, status: string, message: string): FakeAnswer => ({
      status: code,
      body: { error: { code, status, message } },
    })
    const bearer = /^Bearer (.+)$/.exec(headers['authorization'] ?? '')?.[1] ?? ''
    if (tokens.get(bearer) !== true && !isSelfSigned(bearer))
      return error(401, 'UNAUTHENTICATED', 'invalid credentials')
    const [, name = '', version] =
      /^\/v1\/projects\/shop\/(?:locations\/europe-west3\/)?secrets\/([^/]+)\/versions\/([^/:]+):access$/.exec(
        url.pathname,
      ) ?? []
    if (name === 'forbidden')
      return error(403, 'PERMISSION_DENIED', "Permission 'secretmanager.versions.access' denied")
    if (name !== 'db' && name !== 'damaged') return error(404, 'NOT_FOUND', `Secret [${url.pathname}] not found`)
    const data = Buffer.from(`{"password":"s3cret ü","version":"${version}"}`)
    const dataCrc32c = String(name === 'damaged' ? 1 : crc32c(data))
    return {
      body: {
        name: `projects/1/secrets/${name}/versions/${version === 'latest' ? 5 : version}`,
        payload: { data: data.toString('base64'), dataCrc32c },
      },
    }
  }
  /** What the official client sends with a key file: a JWT for the service itself, without buying a token first. */
  const isSelfSigned = (bearer: string): boolean => {
    const [header, claims, signature] = bearer.split('.')
    if (signature === undefined) return false
    const key = createPublicKey(privateKey)
    return verify('RSA-SHA256', Buffer.from(`${header}.${claims}`), key, Buffer.from(signature, 'base64url'))
  }

  const write = (name: string, value: unknown): string => {
    const path = join(folder, name)
    writeFileSync(path, JSON.stringify(value))
    return path
  }
  const base = (): Variables => ({ HOME: '/nonexistent', CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER: google.url })
  const keyFile = () => ({
    type: 'service_account',
    project_id: 'shop',
    private_key_id: 'key-1',
    private_key: keyPem,
    client_email: 'orders@shop.iam.gserviceaccount.com',
    token_uri: `${google.url}/token`,
  })
  const federation = (more: object = {}) => ({
    type: 'external_account',
    audience: '//iam.googleapis.com/projects/1/pool',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    token_url: `${google.url}/sts`,
    credential_source: { file: join(folder, 'subject') },
    ...more,
  })
  const sources: ReadonlyArray<readonly [string, () => Variables, boolean]> = [
    ['the metadata server', () => ({ ...base(), GCE_METADATA_HOST: google.host }), true],
    [
      'a service account key',
      () => ({ ...base(), GOOGLE_APPLICATION_CREDENTIALS: write('key.json', keyFile()) }),
      false,
    ],
    [
      'workload identity federation',
      () => ({
        ...base(),
        GOOGLE_APPLICATION_CREDENTIALS: write('wif.json', federation()),
        GOOGLE_CLOUD_PROJECT: 'shop',
      }),
      true,
    ],
    [
      'federation that acts as a service account, from a JSON file',
      () => {
        write('subject.json', { id: { no: 1 }, jwt: subjectToken })
        const credential_source = {
          file: join(folder, 'subject.json'),
          format: { type: 'json', subject_token_field_name: 'jwt' },
        }
        const service_account_impersonation_url = `${google.url}/v1/projects/-/serviceAccounts/orders@shop:generateAccessToken`
        const file = write('acting.json', federation({ credential_source, service_account_impersonation_url }))
        return { ...base(), GOOGLE_APPLICATION_CREDENTIALS: file, GOOGLE_CLOUD_PROJECT: 'shop' }
      },
      true,
    ],
  ]
  for (const [name, variables, isSamePath] of sources) {
    it(`gives the official client and ours the same with ${name}`, async () => {
      const env = variables()
      const official = await readByOfficial(env, 'projects/shop/secrets/db/versions/5')
      const paths = () => [...new Set(google.requests.splice(0).map(({ method, url }) => `${method} ${url.pathname}`))]
      const officialPaths = paths()
      assert.equal(await readByUs(env, 'gcp-sm://shop/db@5'), official)
      const ourPaths = paths()
      // It looks for more at the metadata server than it needs; what we ask is part of it.
      if (isSamePath)
        assert.deepEqual(
          ourPaths.filter((path) => !officialPaths.includes(path)),
          [],
        )
      assert.ok(ourPaths.length >= 2)
    })
  }

  it('knows the project, the latest version and regional secrets', async () => {
    const env = { ...base(), GCE_METADATA_HOST: google.host }
    await using secrets = openSecrets({ env })
    const handle = secrets.secret('gcp-sm://db#version')
    assert.equal((await handle.get()).reveal(), 'latest')
    assert.equal(handle.version, '5')
    await secrets.secret('gcp-sm://shop/db?location=europe-west3').get()
    assert.equal(
      google.requests.at(-1)?.url.pathname,
      '/v1/projects/shop/locations/europe-west3/secrets/db/versions/latest:access',
    )
  })

  it('logs in again when its token is refused, and keeps it otherwise', async () => {
    await using secrets = openSecrets({ env: { ...base(), GCE_METADATA_HOST: google.host } })
    const handle = secrets.secret('gcp-sm://shop/db')
    await handle.get()
    await handle.refresh()
    assert.equal(tokens.size, 1)
    tokens.set('planted-metadata-0', false)
    await handle.refresh()
    assert.equal(tokens.size, 2)
  })

  for (const [name, reference, code, message] of [
    ['a secret that is not there', 'gcp-sm://shop/gone', 'ABSENT', /NOT_FOUND: Secret \[/],
    ['a secret that is not permitted', 'gcp-sm://shop/forbidden', 'DENIED', /PERMISSION_DENIED: Permission/],
    ['a payload that was damaged', 'gcp-sm://shop/damaged', 'UNAVAILABLE', /does not have its checksum/],
    ['a name that is none', 'gcp-sm://a/b/c', 'ABSENT', /is not "project\/name@version"/],
  ] as const) {
    it(`tells of ${name}`, async () => {
      const env = { ...base(), GCE_METADATA_HOST: google.host }
      await assert.rejects(readByUs(env, reference), { code: `FAIRLEAD_SERVICE_SECRET_${code}`, message })
    })
  }

  it('does not repeat an assertion that was refused', async () => {
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({
      type: 'pkcs8',
      format: 'pem',
    })
    const env = { ...base(), GOOGLE_APPLICATION_CREDENTIALS: write('bad.json', { ...keyFile(), private_key: other }) }
    await assert.rejects(readByUs(env, 'gcp-sm://shop/db'), {
      code: 'FAIRLEAD_SERVICE_SECRET_DENIED',
      message: /invalid_grant Invalid JWT \[redacted\]$/,
    })
  })

  it('sends a credential over plain HTTP to no other machine', async () => {
    const env = {
      ...base(),
      GOOGLE_APPLICATION_CREDENTIALS: write('evil.json', federation({ token_url: 'http://evil.example/' })),
    }
    await assert.rejects(readByUs(env, 'gcp-sm://shop/db'), {
      code: 'FAIRLEAD_SERVICE_SECRET_DENIED',
      message: /token_uri is not an https URL/,
    })
  })
})

describe('crc32c', () => {
  it('has the value of RFC 3720 appendix B.4', () => {
    assert.equal(crc32c(new Uint8Array(32)), 0x8a_91_36_aa)
    assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62_a8_ab_43)
    assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, index) => index)), 0x46_dd_79_4e)
  })
})
