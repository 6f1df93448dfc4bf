// AWS as far as secrets need it: Secrets Manager, Parameter Store and STS, the container endpoint and IMDSv2. Signatures are computed again by
// `aws4`, which neither the SDK nor we use.
import aws4 from 'aws4'
import { openFake } from './fake.fixture.ts'
import type { FakeAnswer, FakeRequest, FakeServer } from './fake.fixture.ts'

export interface FakeKeys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

export interface FakeAws extends FakeServer {
  /** Keys that are accepted, by access key id. */
  readonly keys: Map<string, FakeKeys>
  /** What the container endpoint, STS and the instance give. */
  issued: FakeKeys & { readonly expiration: string }
  /** Of web identities and of the container endpoint. */
  token: string
  readonly secrets: Map<string, { value: string | Buffer; version: string }>
  readonly parameters: Map<string, { value: string; version: number }>
}

export async function openFakeAws(): Promise<FakeAws> {
  const keys = new Map<string, FakeKeys>()
  const server = await openFake((request) => answer(request))
  const fake: FakeAws = Object.assign(server, {
    keys,
    issued: {
      accessKeyId: 'ASIAISSUED',
      secretAccessKey: 'issued/secret+key',
      sessionToken: 'issued-session',
      expiration: '2099-01-01T00:00:00Z',
    },
    token: 'planted-web-identity',
    secrets: new Map(),
    parameters: new Map(),
  })

  const answer = (request: FakeRequest): FakeAnswer => {
    const { url, method, headers, body } = request
    if (url.pathname === '/container') {
      if (headers['authorization'] !== fake.token) return { status: 401, body: { message: 'bad token' } }
      return { body: issuedJson(fake) }
    }
    if (url.pathname.startsWith('/latest/')) return answerInstance(fake, request)
    const form = new URLSearchParams(body)
    if (form.get('Action') === 'AssumeRoleWithWebIdentity') return answerSts(fake, form)
    if (method !== 'POST' || url.pathname !== '/') return { status: 404, body: { __type: 'UnknownOperationException' } }
    const refused = checkSignature(fake, request)
    if (refused) return refused
    const target = headers['x-amz-target'] ?? ''
    const input = JSON.parse(body) as Record<string, unknown>
    if (target === 'secretsmanager.GetSecretValue') return answerSecret(fake, input)
    if (target === 'AmazonSSM.GetParameter') return answerParameter(fake, input)
    return { status: 400, body: { __type: 'UnknownOperationException' } }
  }
  return fake
}

function checkSignature(fake: FakeAws, { url, headers, body }: FakeRequest): FakeAnswer | undefined {
  const parts =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/
  const [, id = '', day = '', region = '', service = '', signedHeaders = ''] =
    parts.exec(headers['authorization'] ?? '') ?? []
  const error = (type: string, message: string, status = 400): FakeAnswer => ({
    status,
    body: { __type: type, message },
  })
  const keys = fake.keys.get(id)
  if (keys === undefined)
    return error('UnrecognizedClientException', 'The security token included in the request is invalid.')
  if (keys.sessionToken !== headers['x-amz-security-token'])
    return error('UnrecognizedClientException', 'bad session token')
  const names = signedHeaders.split(';')
  for (const name of ['host', 'x-amz-date', ...(keys.sessionToken ? ['x-amz-security-token'] : [])])
    if (!names.includes(name)) return error('IncompleteSignatureException', `${name} is not signed`)
  const wanted = service === 'ssm' ? 'AmazonSSM.' : 'secretsmanager.'
  if (!headers['x-amz-target']?.startsWith(wanted) || headers['x-amz-date']?.slice(0, 8) !== day)
    return error('InvalidSignatureException', 'Credential should be scoped to correct service and date.')
  if (Math.abs(parseAmzDate(headers['x-amz-date'] ?? '') - Date.now()) > 300_000)
    return error('InvalidSignatureException', 'Signature expired')
  const signed = aws4.sign(
    {
      host: headers['host'] ?? '',
      method: 'POST',
      path: url.pathname + url.search,
      headers: Object.fromEntries(names.map((name) => [name, headers[name] ?? ''])),
      body,
      service,
      region,
      // Added by aws4 to requests with a body; whether it is signed is the client's choice.
      ...(names.includes('content-length') ? {} : { extraHeadersToIgnore: { 'content-length': true } }),
    },
    { accessKeyId: keys.accessKeyId, secretAccessKey: keys.secretAccessKey },
  )
  const expected = /Signature=([0-9a-f]+)/.exec(String(signed.headers?.['Authorization']))?.[1]
  if (headers['authorization']?.endsWith(`Signature=${expected}`)) return undefined
  // As AWS does: the answer repeats the request, the session token included.
  const canonical = `x-amz-security-token:${headers['x-amz-security-token']}`
  return error(
    'InvalidSignatureException',
    `The request signature we calculated does not match: ${canonical}\n${body}`,
    403,
  )
}

function parseAmzDate(text: string): number {
  return Date.parse(text.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'))
}

function answerSecret(
  fake: FakeAws,
  { SecretId: name, VersionStage: stage = 'AWSCURRENT' }: Record<string, unknown>,
): FakeAnswer {
  const secret = fake.secrets.get(`${String(name)} ${String(stage)}`)
  if (String(name).startsWith('forbidden')) {
    const message =
      'User: arn:aws:sts::1:assumed-role/orders is not authorized to perform: secretsmanager:GetSecretValue'
    return { status: 400, body: { __type: 'AccessDeniedException', Message: message } }
  }
  if (secret === undefined) {
    const message = "Secrets Manager can't find the specified secret."
    return { status: 400, body: { __type: 'ResourceNotFoundException', Message: message } }
  }
  const { value, version } = secret
  const shown = typeof value === 'string' ? { SecretString: value } : { SecretBinary: value.toString('base64') }
  return { body: { ARN: 'arn', Name: name, VersionId: version, VersionStages: [stage], CreatedDate: 1.7e9, ...shown } }
}

function answerParameter(
  fake: FakeAws,
  { Name: name, WithDecryption: isDecrypted }: Record<string, unknown>,
): FakeAnswer {
  const parameter = fake.parameters.get(String(name))
  if (parameter === undefined) return { status: 400, body: { __type: 'ParameterNotFound' } }
  const value = isDecrypted === true ? parameter.value : 'AQICencrypted'
  return { body: { Parameter: { Name: name, Type: 'SecureString', Value: value, Version: parameter.version } } }
}

function answerSts(fake: FakeAws, form: URLSearchParams): FakeAnswer {
  const headers = { 'content-type': 'text/xml' }
  if (
    form.get('WebIdentityToken') !== fake.token ||
    form.get('Version') !== '2011-06-15' ||
    !form.get('RoleSessionName')
  ) {
    const body = `<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code><Message>No OpenIDConnect provider for ${form.get('WebIdentityToken')}</Message></Error></ErrorResponse>`
    return { status: 400, headers, body }
  }
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = fake.issued
  const body = `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>${accessKeyId}</AccessKeyId><SecretAccessKey>${secretAccessKey}</SecretAccessKey><SessionToken>${sessionToken}</SessionToken><Expiration>${expiration}</Expiration></Credentials><AssumedRoleUser><Arn>${form.get('RoleArn')}</Arn><AssumedRoleId>A:b</AssumedRoleId></AssumedRoleUser></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`
  return { headers, body }
}

function answerInstance(fake: FakeAws, { url, method, headers }: FakeRequest): FakeAnswer {
  if (url.pathname === '/latest/api/token') {
    if (method !== 'PUT' || !headers['x-aws-ec2-metadata-token-ttl-seconds']) return { status: 400, body: 'bad' }
    return { body: 'imds-session', headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '21600' } }
  }
  if (headers['x-aws-ec2-metadata-token'] !== 'imds-session') return { status: 401, body: 'no token' }
  const base = '/latest/meta-data/iam/security-credentials'
  if (url.pathname === `${base}/` || url.pathname === base) return { body: 'orders-role' }
  if (url.pathname === `${base}/orders-role`) return { body: { Code: 'Success', ...issuedJson(fake) } }
  if (url.pathname === '/latest/meta-data/placement/region') return { body: 'eu-north-1' }
  return { status: 404, body: '' }
}

function issuedJson({ issued }: FakeAws): Record<string, unknown> {
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = issued
  return {
    AccessKeyId: accessKeyId,
    SecretAccessKey: secretAccessKey,
    Token: sessionToken,
    Expiration: expiration,
    RoleArn: 'r',
  }
}
