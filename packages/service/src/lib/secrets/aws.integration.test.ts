// The same server must satisfy the official client and ours, and both must end with the same value.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager'
import { GetParameterCommand, SSMClient } from '@aws-sdk/client-ssm'
import { findAwsEndpoint } from './aws-credentials.ts'
import { openFakeAws } from './aws.fixture.ts'
import type { FakeAws } from './aws.fixture.ts'
import { setEnvironment } from './fake.fixture.ts'
import { openSecrets } from './secrets.ts'

type Variables = Readonly<Record<string, string>>

async function readByUs(env: Variables, reference: string, options: { now?: () => number } = {}): Promise<string> {
  await using secrets = openSecrets({ env, ...options })
  return (await secrets.secret(reference).get()).reveal()
}

async function readByOfficial(env: Variables, SecretId: string): Promise<string> {
  using _ = setEnvironment(['AWS_', 'HOME'], env)
  const client = new SecretsManagerClient({ maxAttempts: 1 })
  try {
    const { SecretString, SecretBinary } = await client.send(new GetSecretValueCommand({ SecretId }))
    return SecretString ?? Buffer.from(SecretBinary ?? []).toString()
  } finally {
    client.destroy()
  }
}

describe('AWS', () => {
  let aws: FakeAws
  let folder: string
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'fairlead-aws-'))
    writeFileSync(join(folder, 'token'), 'planted-web-identity\n')
    writeFileSync(
      join(folder, 'credentials'),
      '[default]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = no\n[orders]\naws_access_key_id=AKIAPROFILE\naws_secret_access_key = profile/secret\n',
    )
    writeFileSync(join(folder, 'config'), '[default]\nregion = us-east-1\n[profile orders]\nregion = ap-south-1\n')
  })
  after(() => rmSync(folder, { recursive: true }))
  beforeEach(async () => {
    aws = await openFakeAws()
    aws.secrets.set('orders/db AWSCURRENT', { value: '{"user":"orders","password":"s3cret ü"}', version: 'v1' })
    aws.secrets.set('orders/db AWSPREVIOUS', { value: '{"user":"orders","password":"old"}', version: 'v0' })
    aws.secrets.set('key AWSCURRENT', { value: Buffer.from('binary'), version: 'k1' })
    aws.parameters.set('/orders/db/password', { value: 'parameter', version: 7 })
    aws.parameters.set('/orders/db/password:3', { value: 'third', version: 3 })
    aws.keys.set('AKIASTATIC', { accessKeyId: 'AKIASTATIC', secretAccessKey: 'static/secret+key' })
    aws.keys.set('AKIAPROFILE', { accessKeyId: 'AKIAPROFILE', secretAccessKey: 'profile/secret' })
    aws.keys.set('ASIAISSUED', aws.issued)
  })
  afterEach(async () => await aws[Symbol.asyncDispose]())

  const none = { AWS_EC2_METADATA_DISABLED: 'true', HOME: '/nonexistent' }
  const fixed = {
    ...none,
    AWS_ACCESS_KEY_ID: 'AKIASTATIC',
    AWS_SECRET_ACCESS_KEY: 'static/secret+key',
    AWS_REGION: 'eu-west-1',
  }
  const sources: ReadonlyArray<readonly [string, () => Variables]> = [
    ['keys of the environment', () => fixed],
    [
      'a profile file, its region included',
      () => ({
        ...none,
        AWS_PROFILE: 'orders',
        AWS_SHARED_CREDENTIALS_FILE: join(folder, 'credentials'),
        AWS_CONFIG_FILE: join(folder, 'config'),
      }),
    ],
    [
      'web identity (IRSA)',
      () => ({
        ...none,
        AWS_REGION: 'eu-west-1',
        AWS_ROLE_ARN: 'arn:aws:iam::1:role/orders',
        AWS_WEB_IDENTITY_TOKEN_FILE: join(folder, 'token'),
      }),
    ],
    [
      'the container endpoint (Pod Identity)',
      () => ({
        ...none,
        AWS_REGION: 'eu-west-1',
        AWS_CONTAINER_CREDENTIALS_FULL_URI: `${aws.url}/container`,
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: join(folder, 'token'),
      }),
    ],
    [
      'instance metadata (IMDSv2)',
      () => ({ HOME: '/nonexistent', AWS_REGION: 'eu-west-1', AWS_EC2_METADATA_SERVICE_ENDPOINT: aws.url }),
    ],
  ]
  for (const [name, variables] of sources) {
    it(`gives the official client and ours the same with ${name}`, async () => {
      // The container token is read to the letter by the SDK: no line break there.
      aws.token = 'planted-web-identity'
      writeFileSync(join(folder, 'token'), aws.token)
      const env = { ...variables(), AWS_ENDPOINT_URL: aws.url }
      const official = await readByOfficial(env, 'orders/db')
      const officialPaths = aws.requests
        .splice(0)
        .map(({ method, url }) => `${method} ${url.pathname.replace(/\/$/, '')}`)
      assert.equal(await readByUs(env, 'aws-sm://orders/db'), official)
      const ourPaths = aws.requests.map(({ method, url }) => `${method} ${url.pathname.replace(/\/$/, '')}`)
      assert.deepEqual(ourPaths, officialPaths)
    })
  }

  it('finds the region of the instance, as a last resort', async () => {
    const env = { HOME: '/nonexistent', AWS_EC2_METADATA_SERVICE_ENDPOINT: aws.url, AWS_ENDPOINT_URL: aws.url }
    await readByUs(env, 'aws-sm://orders/db')
    assert.match(aws.requests.at(-1)?.headers['authorization'] ?? '', /\/eu-north-1\/secretsmanager\//)
  })

  it('reads stages, versions, fields, bytes and parameters', async () => {
    const env = { ...fixed, AWS_ENDPOINT_URL: aws.url }
    assert.equal(await readByUs(env, 'aws-sm://orders/db?stage=AWSPREVIOUS#password'), 'old')
    assert.equal(await readByUs(env, 'aws-sm://orders/db?region=us-east-2#password'), 's3cret ü')
    assert.match(aws.requests.at(-1)?.headers['authorization'] ?? '', /\/us-east-2\//)
    assert.equal(await readByUs(env, 'aws-sm://key'), await readByOfficial(env, 'key'))
    assert.equal(await readByUs(env, 'aws-ssm://orders/db/password'), 'parameter')
    assert.equal(await readByUs(env, 'aws-ssm:///orders/db/password?version=3'), 'third')
    using _ = setEnvironment(['AWS_', 'HOME'], env)
    const client = new SSMClient({ maxAttempts: 1 })
    const { Parameter } = await client.send(
      new GetParameterCommand({ Name: '/orders/db/password', WithDecryption: true }),
    )
    client.destroy()
    assert.deepEqual([Parameter?.Value, Parameter?.Version], ['parameter', 7])
  })

  it('is not satisfied by a wrong signature, and what it says of it stays inside', async () => {
    aws.keys.set('ASIAISSUED', { ...aws.issued, secretAccessKey: 'another' })
    const env = {
      ...none,
      AWS_REGION: 'eu-west-1',
      AWS_ENDPOINT_URL: aws.url,
      AWS_ACCESS_KEY_ID: 'ASIAISSUED',
      AWS_SECRET_ACCESS_KEY: aws.issued.secretAccessKey,
      AWS_SESSION_TOKEN: 'issued-session',
    }
    await assert.rejects(readByOfficial(env, 'orders/db'), {
      name: 'InvalidSignatureException',
      message: /issued-session/,
    })
    await assert.rejects(readByUs(env, 'aws-sm://orders/db'), {
      code: 'FAIRLEAD_SERVICE_SECRET_DENIED',
      message: 'Cannot read secret "aws-sm://orders/db" of AWS Secrets Manager: InvalidSignatureException',
    })
  })

  for (const [name, reference, code, message] of [
    ['a secret that is not there', 'aws-sm://gone', 'ABSENT', /ResourceNotFoundException: Secrets Manager can't find/],
    [
      'a secret that is not permitted',
      'aws-sm://forbidden',
      'DENIED',
      /AccessDeniedException: User: .* not authorized/,
    ],
    ['a parameter that is not there', 'aws-ssm:///gone', 'ABSENT', /ParameterNotFound/],
  ] as const) {
    it(`tells of ${name}`, async () => {
      const env = { ...fixed, AWS_ENDPOINT_URL: aws.url }
      await assert.rejects(readByUs(env, reference), { code: `FAIRLEAD_SERVICE_SECRET_${code}`, message })
    })
  }

  it('takes new credentials before the old ones expire, and when they are refused before their time', async () => {
    const env = {
      ...none,
      AWS_REGION: 'eu-west-1',
      AWS_ENDPOINT_URL: aws.url,
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${aws.url}/container`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN: aws.token,
    }
    let time = Date.now()
    const asked = () => aws.requests.filter(({ url }) => url.pathname === '/container').length
    aws.issued = { ...aws.issued, expiration: new Date(time + 3_600_000).toISOString() }
    await using secrets = openSecrets({ env, now: () => time })
    const handle = secrets.secret('aws-sm://orders/db')
    await handle.get()
    time += 60_000
    await handle.refresh()
    assert.equal(asked(), 1)
    // Revoked: the next answer says so, once.
    aws.keys.delete('ASIAISSUED')
    aws.issued = {
      accessKeyId: 'ASIANEXT',
      secretAccessKey: 'next',
      sessionToken: 'next-session',
      expiration: new Date(time + 240_000).toISOString(),
    }
    aws.keys.set('ASIANEXT', aws.issued)
    await handle.refresh()
    assert.equal(asked(), 2)
    // Four minutes are left, which is less than five.
    await handle.refresh()
    assert.equal(asked(), 3)
  })

  it('sends credentials of a container nowhere but next to it', async () => {
    const env = {
      ...none,
      AWS_REGION: 'a',
      AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://evil.example/x',
      AWS_CONTAINER_AUTHORIZATION_TOKEN: 'planted',
    }
    await assert.rejects(readByUs(env, 'aws-sm://orders/db'), {
      code: 'FAIRLEAD_SERVICE_SECRET_DENIED',
      message: /"evil.example" over plain HTTP/,
    })
  })

  it('says what it looked for where there are no credentials', async () => {
    const env = { ...none, AWS_REGION: 'eu-west-1', AWS_ENDPOINT_URL: aws.url }
    await assert.rejects(readByUs(env, 'aws-sm://orders/db'), {
      code: 'FAIRLEAD_SERVICE_SECRET_DENIED',
      message: /there are no AWS credentials: no keys in the environment/,
      hint: /EKS Pod Identity/,
    })
  })

  for (const region of ['eu-west-1', 'us-east-1', 'cn-north-1', 'us-gov-west-1', 'ap-southeast-5']) {
    for (const isFips of [false, true]) {
      it(`goes to the same address as the SDK in ${region}${isFips ? ' with FIPS' : ''}`, async () => {
        for (const [name, Client, command] of [
          ['secretsmanager', SecretsManagerClient, new GetSecretValueCommand({ SecretId: 'a' })],
          ['ssm', SSMClient, new GetParameterCommand({ Name: 'a' })],
        ] as const) {
          let host = ''
          const requestHandler = {
            handle: (request: { hostname: string }) => {
              host = request.hostname
              return Promise.reject(new Error('far enough'))
            },
          }
          const credentials = { accessKeyId: 'a', secretAccessKey: 'b' }
          const options = { region, useFipsEndpoint: isFips, credentials, requestHandler, maxAttempts: 1 }
          // The two clients differ in their commands only.
          const client = new Client(options) as { send(command: unknown): Promise<unknown> }
          await client.send(command).catch(() => {})
          assert.equal(findAwsEndpoint({ AWS_USE_FIPS_ENDPOINT: String(isFips) }, name, region).hostname, host)
        }
      })
    }
  }
})
