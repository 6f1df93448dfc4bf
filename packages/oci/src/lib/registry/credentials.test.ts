import { ECRClient, GetAuthorizationTokenCommand } from '@aws-sdk/client-ecr'
import assert from 'node:assert/strict'
import { createPublicKey, createVerify, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'

import aws4 from 'aws4'

import { openAccess } from './credentials-access.ts'
import { loadCloudCredentials, logInToAcr } from './credentials-cloud.ts'
import { createKeychain } from './credentials.ts'

let work: string
let home: string
let env: NodeJS.ProcessEnv

before(async () => {
  work = await mkdtemp(join(tmpdir(), 'fairlead-credentials-'))
})
after(() => rm(work, { recursive: true, force: true }))
beforeEach(async () => {
  home = await mkdtemp(join(work, 'home-'))
  env = { HOME: home, PATH: `${home}${delimiter}${process.env['PATH']}`, AWS_EC2_METADATA_DISABLED: 'true' }
})

const base64 = (text: string): string => Buffer.from(text).toString('base64')

async function writeConfig(value: unknown, path = join(home, '.docker', 'config.json')): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true })
  await writeFile(path, typeof value === 'string' ? value : JSON.stringify(value))
}

/** A credential helper that keeps one entry in a file and writes down what it is asked. */
async function writeHelper(name: string, body?: string): Promise<void> {
  const script = `#!/bin/sh
input=$(cat)
echo "$1 $input" >> ${home}/asked
${
  body ??
  `case $1 in
  store) printf %s "$input" > ${home}/kept ;;
  get) if [ -f ${home}/kept ]; then cat ${home}/kept; else echo "credentials not found in native keychain"; exit 1; fi ;;
  erase) rm ${home}/kept ;;
esac`
}
`
  await writeFile(join(home, `docker-credential-${name}`), script)
  await chmod(join(home, `docker-credential-${name}`), 0o755)
}

describe('createKeychain', () => {
  const rows: { name: string; registry: string; auths: Record<string, unknown>; expected: unknown }[] = [
    {
      name: 'a host',
      registry: 'ghcr.io',
      auths: { 'ghcr.io': { auth: base64('ada:p:w') } },
      expected: { username: 'ada', password: 'p:w' },
    },
    {
      name: "Docker Hub's address",
      registry: 'docker.io',
      auths: { 'https://index.docker.io/v1/': { auth: base64('ada:pw\0\0') } },
      expected: { username: 'ada', password: 'pw' },
    },
    {
      name: 'an identity token',
      registry: 'a.example:5000',
      auths: { 'https://a.example:5000': { auth: base64('ada:'), identitytoken: 'idt' } },
      expected: { username: 'ada', password: '', identityToken: 'idt' },
    },
    {
      name: 'another port',
      registry: 'a.example',
      auths: { 'a.example:5000': { auth: base64('a:b') } },
      expected: undefined,
    },
    { name: 'nothing in an entry', registry: 'a.example', auths: { 'a.example': {} }, expected: undefined },
  ]
  for (const { name, registry, auths, expected } of rows) {
    it(`reads ${name} of a docker config file`, async () => {
      await writeConfig({ auths })
      assert.deepEqual(await createKeychain({ env }).get(registry), expected)
    })
  }

  it("looks into DOCKER_CONFIG, then Podman's files, and only into REGISTRY_AUTH_FILE when that is set", async () => {
    const entry = (user: string): unknown => ({ auths: { 'a.example': { auth: base64(`${user}:pw`) } } })
    await writeConfig(entry('podman'), join(home, 'run', 'containers', 'auth.json'))
    const all = { ...env, XDG_RUNTIME_DIR: join(home, 'run'), DOCKER_CONFIG: join(home, 'other') }
    assert.equal((await createKeychain({ env: all }).get('a.example'))?.username, 'podman')
    await writeConfig(entry('docker'), join(home, 'other', 'config.json'))
    assert.equal((await createKeychain({ env: all }).get('a.example'))?.username, 'docker')
    const only = { ...all, REGISTRY_AUTH_FILE: join(home, 'none.json') }
    assert.equal(await createKeychain({ env: only }).get('a.example'), undefined)
  })

  it('keeps credentials in a file that only its owner reads, and leaves the rest of it alone', async () => {
    const path = join(home, 'real.json')
    await writeConfig({ auths: { 'b.example': { auth: base64('b:b') } }, detachKeys: 'ctrl-z' }, path)
    await mkdir(join(home, '.docker'))
    await symlink(path, join(home, '.docker', 'config.json'))
    const keychain = createKeychain({ env })
    const users = ['one', 'two', 'three', 'four']
    await Promise.all(users.map((user) => keychain.store(`${user}.example`, { username: user, password: 'pw' })))
    const value = JSON.parse(await readFile(path, 'utf8')) as { auths: object; detachKeys: string }
    assert.equal((await stat(path)).mode & 0o777, 0o600)
    assert.deepEqual([Object.keys(value.auths).length, value.detachKeys], [5, 'ctrl-z'])
    assert.deepEqual(await keychain.get('two.example'), { username: 'two', password: 'pw' })
    assert.deepEqual(await keychain.erase('two.example'), [join(home, '.docker', 'config.json')])
    assert.equal(await keychain.get('two.example'), undefined)
    assert.deepEqual(await keychain.erase('two.example'), [])
    const left = (await readdir(home)).filter((name) => name !== '.docker' && name !== 'real.json')
    assert.deepEqual(left, [], 'nothing half is left')
  })

  it('asks credential helpers: one for a registry before the one for all', async () => {
    await writeConfig({ credsStore: 'all', credHelpers: { 'special.example': 'special' } })
    await writeHelper('all')
    await writeHelper('special', `echo '{"Username":"<token>","Secret":"idt"}'`)
    const keychain = createKeychain({ env })
    assert.equal(await keychain.get('docker.io'), undefined)
    assert.equal(await keychain.store('docker.io', { username: 'ada', password: 'pw' }), 'docker-credential-all')
    assert.deepEqual(await keychain.get('docker.io'), { username: 'ada', password: 'pw' })
    assert.deepEqual(await keychain.get('special.example'), { username: '', password: '', identityToken: 'idt' })
    assert.deepEqual(await keychain.erase('docker.io'), ['docker-credential-all'])
    const asked = (await readFile(join(home, 'asked'), 'utf8')).split('\n')
    assert.deepEqual(asked.slice(0, 3), [
      'get https://index.docker.io/v1/',
      'store {"ServerURL":"https://index.docker.io/v1/","Username":"ada","Secret":"pw"}',
      'get https://index.docker.io/v1/',
    ])
    assert.ok(!(await readFile(join(home, '.docker', 'config.json'), 'utf8')).includes('auth"'))
  })

  const broken: { name: string; config: unknown; helper?: string; message: RegExp }[] = [
    { name: 'a file that is no JSON', config: '{"auths": {"a.example": {"auth": "c2Vj', message: /it is no JSON$/ },
    { name: 'an entry without colon', config: { auths: { 'a.example': { auth: 'c2Vj' } } }, message: /no colon/ },
    { name: 'a helper that is not there', config: { credsStore: 'absent' }, message: /not on the PATH/ },
    {
      name: 'a helper with the name of another program',
      config: { credsStore: '../x' },
      message: /no name of a helper/,
    },
    {
      name: 'a helper that fails',
      config: { credsStore: 'bad' },
      helper: 'echo locked; exit 1',
      message: /failed: locked/,
    },
    { name: 'a helper that babbles', config: { credsStore: 'bad' }, helper: 'echo secret', message: /is no JSON$/ },
    { name: 'a helper that hangs', config: { credsStore: 'bad' }, helper: 'exec sleep 60', message: /did not answer/ },
  ]
  for (const { name, config, helper, message } of broken) {
    it(`names ${name} and shows no secret`, async () => {
      await writeConfig(config)
      if (helper !== undefined) await writeHelper('bad', helper)
      const got = createKeychain({ env, helperTimeoutMs: 500 }).get('a.example')
      await assert.rejects(got, (error: Error & { code?: string }) => {
        assert.equal(error.code, 'FAIRLEAD_OCI_CREDENTIALS')
        assert.match(error.message, message)
        assert.ok(!/c2Vj|secret$/.test(error.message))
        return true
      })
    })
  }
})

interface Call {
  method: string
  url: URL
  headers: Record<string, string>
  body: string
}

/** A cloud's interface that answers what `reply` says, 200 with JSON or another status. */
async function startCloud(reply: (call: Call) => unknown): Promise<{ origin: string } & AsyncDisposable> {
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => (body += String(chunk)))
    request.on('end', () => {
      const url = new URL(request.url ?? '', `http://${request.headers.host}`)
      const headers = request.headers as Record<string, string>
      const value = reply({ method: request.method ?? '', url, headers, body })
      if (typeof value === 'number') response.writeHead(value).end('{"__type":"x#AccessDeniedException"}')
      else response.end(typeof value === 'string' ? value : JSON.stringify(value))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** ECR as far as log-in needs it; the signature is computed again by `aws4`, which neither the SDK nor we use. */
function fakeEcr(keys: {
  accessKeyId: string
  secretAccessKey: string
  sessionToken?: string
}): (call: Call) => unknown {
  return ({ method, url, headers, body }) => {
    const authorization = headers['authorization'] ?? ''
    const [, day, region, service, names] =
      /\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([^,]+)/.exec(authorization) ?? []
    const isPublic = service === 'ecr-public'
    const prefix = isPublic ? 'SpencerFrontendService' : 'AmazonEC2ContainerRegistry_V20150921'
    if (method !== 'POST' || headers['x-amz-target'] !== `${prefix}.GetAuthorizationToken` || !region) return 400
    if (isPublic && region !== 'us-east-1') return 400
    if (headers['x-amz-security-token'] !== keys.sessionToken || !headers['x-amz-date']?.startsWith(day ?? '-'))
      return 403
    const signed = Object.fromEntries((names ?? '').split(';').map((name) => [name, headers[name] ?? '']))
    const again = aws4.sign(
      {
        host: url.host,
        path: url.pathname,
        method,
        body,
        service: service ?? '',
        region,
        headers: signed,
        // Added by aws4 to requests with a body; whether it is signed is the client's choice.
        ...('content-length' in signed ? {} : { extraHeadersToIgnore: { 'content-length': true } }),
      },
      { accessKeyId: keys.accessKeyId, secretAccessKey: keys.secretAccessKey },
    )
    const signatureOf = (text: unknown): string => /Signature=([0-9a-f]{64})/.exec(String(text))?.[1] ?? 'none'
    if (signatureOf(again.headers?.['Authorization']) !== signatureOf(authorization)) return 403
    const data = { authorizationToken: base64(`AWS:password of ${region}`), expiresAt: 4_070_908_800 }
    return { authorizationData: isPublic ? data : [{ ...data, proxyEndpoint: 'https://x' }] }
  }
}

describe('loadCloudCredentials', () => {
  const host = '123456789012.dkr.ecr.eu-central-1.amazonaws.com'
  const keys = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret/key+x', sessionToken: 'session' }
  const keyEnv = {
    AWS_ACCESS_KEY_ID: keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
    AWS_SESSION_TOKEN: keys.sessionToken,
  }

  it('gets the password of ECR, as the SDK does from the same server', async () => {
    await using cloud = await startCloud(fakeEcr(keys))
    const found = await loadCloudCredentials(host, { ...env, ...keyEnv, AWS_ENDPOINT_URL_ECR: cloud.origin })
    assert.deepEqual(found, { username: 'AWS', password: 'password of eu-central-1' })
    const sdk = new ECRClient({ region: 'eu-central-1', endpoint: cloud.origin, credentials: keys })
    const answer = await sdk.send(new GetAuthorizationTokenCommand({}))
    sdk.destroy()
    assert.equal(answer.authorizationData?.[0]?.authorizationToken, base64('AWS:password of eu-central-1'))
  })

  it('gets the password of the public gallery, and does without when keys are not accepted', async () => {
    await using cloud = await startCloud(fakeEcr(keys))
    const there = { ...env, ...keyEnv, AWS_ENDPOINT_URL: cloud.origin }
    const found = await loadCloudCredentials('public.ecr.aws', there)
    assert.deepEqual(found, { username: 'AWS', password: 'password of us-east-1' })
    const wrong = { ...there, AWS_SECRET_ACCESS_KEY: 'wrong' }
    assert.equal(await loadCloudCredentials('public.ecr.aws', wrong), undefined)
    await assert.rejects(loadCloudCredentials(host, wrong), {
      code: 'FAIRLEAD_OCI_CREDENTIALS',
      message: /AccessDenied/,
    })
  })

  it('finds AWS keys in a profile, by a web identity, beside a container and on an instance', async () => {
    const ecr = fakeEcr(keys)
    const issued = { AccessKeyId: keys.accessKeyId, SecretAccessKey: keys.secretAccessKey, Token: keys.sessionToken }
    await using cloud = await startCloud((call) => {
      const { url, headers, body } = call
      if (url.pathname === '/container') return headers['authorization'] === 'pod-token' ? issued : 401
      if (url.pathname === '/latest/api/token') return call.method === 'PUT' ? 'imds' : 405
      if (url.pathname.startsWith('/latest/meta-data/')) {
        if (headers['x-aws-ec2-metadata-token'] !== 'imds') return 401
        return url.pathname.endsWith('/') ? 'role\n' : issued
      }
      if (!body.startsWith('Action=AssumeRoleWithWebIdentity')) return ecr(call)
      const form = new URLSearchParams(body)
      if (form.get('WebIdentityToken') !== 'jwt' || form.get('RoleArn') !== 'arn:role') return 403
      const { AccessKeyId, SecretAccessKey, Token } = issued
      return `<Credentials><AccessKeyId>${AccessKeyId}</AccessKeyId><SecretAccessKey>${SecretAccessKey}</SecretAccessKey><SessionToken>${Token}</SessionToken></Credentials>`
    })
    const profile = join(home, 'credentials')
    const { accessKeyId, secretAccessKey, sessionToken } = keys
    const lines = [`aws_access_key_id = ${accessKeyId}`, `aws_secret_access_key=${secretAccessKey}`]
    await writeFile(
      profile,
      ['[default]', 'x = 1', '[dev]', ...lines, `aws_session_token = ${sessionToken}`].join('\n'),
    )
    const token = join(home, 'token')
    await writeFile(token, 'jwt\n')
    const ways: Record<string, string>[] = [
      { AWS_PROFILE: 'dev', AWS_SHARED_CREDENTIALS_FILE: profile },
      { AWS_WEB_IDENTITY_TOKEN_FILE: token, AWS_ROLE_ARN: 'arn:role' },
      {
        AWS_CONTAINER_CREDENTIALS_FULL_URI: `${cloud.origin}/container`,
        AWS_CONTAINER_AUTHORIZATION_TOKEN: 'pod-token',
      },
      { AWS_EC2_METADATA_DISABLED: '', AWS_EC2_METADATA_SERVICE_ENDPOINT: cloud.origin },
    ]
    for (const way of ways) {
      const found = await loadCloudCredentials(host, { ...env, AWS_ENDPOINT_URL: cloud.origin, ...way })
      assert.equal(found?.password, 'password of eu-central-1', Object.keys(way)[0])
    }
    assert.equal(await loadCloudCredentials(host, env), undefined)
    const far = { ...env, AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://evil.example/x' }
    await assert.rejects(loadCloudCredentials(host, far), { message: /has no TLS/ })
  })

  it('gets a token of Google Cloud with the key of a service account, for a user and on an instance', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    await using cloud = await startCloud(({ url, headers, body }) => {
      if (url.pathname.startsWith('/computeMetadata/')) {
        return headers['metadata-flavor'] === 'Google' ? { access_token: 'instance' } : 403
      }
      const form = new URLSearchParams(body)
      if (form.get('grant_type') === 'refresh_token')
        return form.get('refresh_token') === 'rt' ? { access_token: 'user' } : 400
      const [head = '', claims = '', signature = ''] = (form.get('assertion') ?? '').split('.')
      const pem = createPublicKey(publicKey.export({ type: 'spki', format: 'pem' }))
      if (!createVerify('RSA-SHA256').update(`${head}.${claims}`).verify(pem, signature, 'base64url')) return 401
      const { iss, aud, exp, iat } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as Record<string, unknown>
      const isRight = iss === 'robot@project' && aud === `${cloud.origin}/token` && Number(exp) - Number(iat) === 3600
      return isRight ? { access_token: 'robot' } : 401
    })
    const file = join(home, 'key.json')
    const account = {
      type: 'service_account',
      client_email: 'robot@project',
      private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
      token_uri: `${cloud.origin}/token`,
    }
    await writeFile(file, JSON.stringify(account))
    const named = { ...env, GOOGLE_APPLICATION_CREDENTIALS: file }
    const expected = { username: 'oauth2accesstoken', password: 'robot' }
    assert.deepEqual(await loadCloudCredentials('europe-docker.pkg.dev', named), expected)
    const user = { type: 'authorized_user', client_id: 'c', client_secret: 's', refresh_token: 'rt' }
    const gcloud = join(home, '.config', 'gcloud', 'application_default_credentials.json')
    await writeConfig({ ...user, token_uri: `${cloud.origin}/token` }, gcloud)
    assert.equal((await loadCloudCredentials('eu.gcr.io', env))?.password, 'user')
    await rm(gcloud)
    const instance = { ...env, GCE_METADATA_HOST: new URL(cloud.origin).host }
    assert.equal((await loadCloudCredentials('gcr.io', instance))?.password, 'instance')
    await writeFile(file, JSON.stringify({ ...account, private_key: 'broken' }))
    await assert.rejects(loadCloudCredentials('gcr.io', named), { message: /is no PEM key/ })
  })

  it('exchanges a token of Microsoft Entra for one of ACR', async () => {
    await using cloud = await startCloud(({ url, headers, body }) => {
      const form = new URLSearchParams(body)
      if (url.pathname === '/tenant/oauth2/v2.0/token') {
        const isRight =
          form.get('client_secret') === 'cs' && form.get('scope') === 'https://containerregistry.azure.net/.default'
        return isRight ? { access_token: 'aad' } : 401
      }
      if (url.pathname === '/metadata/identity/oauth2/token') {
        return headers['metadata'] === 'true' ? { access_token: 'aad' } : 400
      }
      const isRight =
        url.pathname === '/oauth2/exchange' &&
        form.get('grant_type') === 'access_token' &&
        form.get('service') === 'shop.azurecr.io' &&
        form.get('access_token') === 'aad'
      return isRight ? { refresh_token: 'refresh' } : 401
    })
    const secret = { AZURE_TENANT_ID: 'tenant', AZURE_CLIENT_ID: 'c', AZURE_CLIENT_SECRET: 'cs' }
    const ways: Record<string, string>[] = [
      { ...secret, AZURE_AUTHORITY_HOST: cloud.origin },
      { AZURE_POD_IDENTITY_AUTHORITY_HOST: cloud.origin },
    ]
    for (const way of ways) {
      const found = await logInToAcr('shop.azurecr.io', new URL(cloud.origin), openAccess({ ...env, ...way }))
      assert.deepEqual(found, { username: '00000000-0000-0000-0000-000000000000', password: 'refresh' })
    }
    const wrong = openAccess({ ...env, ...ways[0], AZURE_CLIENT_SECRET: 'no' })
    await assert.rejects(logInToAcr('shop.azurecr.io', new URL(cloud.origin), wrong), {
      code: 'FAIRLEAD_OCI_CREDENTIALS',
    })
  })

  it('knows nothing of other registries', async () => {
    for (const registry of [
      'docker.io',
      'ghcr.io',
      'evil.example',
      'gcr.io.evil.example',
      'x.azurecr.io.evil.example',
    ]) {
      assert.equal(await loadCloudCredentials(registry, { ...env, ...keyEnv }), undefined)
    }
  })
})
