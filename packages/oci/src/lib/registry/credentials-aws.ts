import { createHash, createHmac } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'

import { credentialsUnusable } from '../errors.ts'
import type { CloudAccess } from './credentials-access.ts'
import { readText, textAt } from './credentials-access.ts'

interface AwsKeys {
  accessKeyId: string
  secretAccessKey: string
  sessionToken?: string | undefined
}

const CONTAINER_HOST = 'http://169.254.170.2'
const INSTANCE_HOST = 'http://169.254.169.254'

/** A private registry of ECR, with the region it is in. */
export function parseEcrHost(registry: string): { region: string; domain: string } | undefined {
  const match =
    /^\d{12}\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(amazonaws\.com(?:\.cn|\.eu)?|on\.aws|on\.amazonwebservices\.com\.cn)$/.exec(
      registry,
    )
  const [, region, domain = ''] = match ?? []
  return region ? { region, domain } : undefined
}

/**
 * The password of ECR for 12 hours, by `GetAuthorizationToken` (API version 2015-09-21), signed with AWS Signature
 * Version 4. Nothing when this process has no AWS credentials.
 */
export async function logInToEcr(
  { region, domain }: { region: string; domain: string },
  access: CloudAccess,
): Promise<{ username: string; password: string } | undefined> {
  const suffix = domain.includes('cn')
    ? 'amazonaws.com.cn'
    : domain === 'amazonaws.com.eu'
      ? 'amazonaws.eu'
      : 'amazonaws.com'
  const url = endpointOf(access.env, 'ECR', `https://api.ecr.${region}.${suffix}`)
  const target = 'AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken'
  const answer = await callAws(access, { url, region, service: 'ecr', target })
  const data = (answer as { authorizationData?: unknown[] } | undefined)?.authorizationData?.[0]
  return answer === undefined ? undefined : tokenOf('ECR', data)
}

/** The same for the public gallery, which lives in one region. */
export async function logInToEcrPublic(
  access: CloudAccess,
): Promise<{ username: string; password: string } | undefined> {
  const region = 'us-east-1'
  const url = endpointOf(access.env, 'ECR_PUBLIC', `https://api.ecr-public.${region}.amazonaws.com`)
  const target = 'SpencerFrontendService.GetAuthorizationToken'
  const answer = await callAws(access, { url, region, service: 'ecr-public', target })
  return answer === undefined
    ? undefined
    : tokenOf('ECR Public', (answer as { authorizationData?: unknown }).authorizationData)
}

/** `authorizationToken` is base64 of `AWS:<password>`. */
function tokenOf(service: string, data: unknown): { username: string; password: string } {
  const [username = '', ...rest] = Buffer.from(textAt(data, 'authorizationToken') ?? '', 'base64')
    .toString()
    .split(':')
  if (username === '' || rest.length === 0) {
    throw credentialsUnusable(service, 'its answer has no token', 'Check the endpoint that AWS_ENDPOINT_URL names')
  }
  return { username, password: rest.join(':') }
}

/** As the SDKs do (AWS SDKs reference, "Service-specific endpoints"). */
function endpointOf(env: NodeJS.ProcessEnv, service: string, usual: string): URL {
  return new URL('/', env[`AWS_ENDPOINT_URL_${service}`] || env['AWS_ENDPOINT_URL'] || usual)
}

async function callAws(
  access: CloudAccess,
  call: { url: URL; region: string; service: string; target: string },
): Promise<unknown> {
  const keys = await loadKeys(access, call.region)
  if (!keys) return undefined
  const body = '{}'
  const headers = signPost(
    call.url,
    { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': call.target },
    body,
    {
      ...call,
      keys,
      now: access.now(),
    },
  )
  const answer = await access.call(call.url, { method: 'POST', headers, body })
  if (answer.status === 200) return answer.json
  const type = textAt(answer.json, '__type')?.split('#').at(-1) ?? `status ${answer.status}`
  const message = textAt(answer.json, 'message') ?? textAt(answer.json, 'Message') ?? ''
  throw credentialsUnusable(
    call.url.host,
    `it gave no token: ${type} ${message}`.trim().slice(0, 300),
    'Allow this identity ecr:GetAuthorizationToken, and check the clock of this machine',
  )
}

/** AWS Signature Version 4 of a POST to the root of a service. */
function signPost(
  url: URL,
  extra: Readonly<Record<string, string>>,
  body: string,
  scope: { region: string; service: string; keys: AwsKeys; now: number },
): Record<string, string> {
  const { region, service, keys } = scope
  const time = new Date(scope.now).toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const day = time.slice(0, 8)
  const headers: Record<string, string> = {
    ...extra,
    host: url.host,
    'x-amz-date': time,
    ...(keys.sessionToken ? { 'x-amz-security-token': keys.sessionToken } : {}),
  }
  const names = Object.keys(headers).toSorted()
  const listed = names.join(';')
  const lines = names.map((name) => `${name}:${headers[name]}`)
  const canonical = ['POST', url.pathname, '', ...lines, '', listed, sha256(body)].join('\n')
  const range = `${day}/${region}/${service}/aws4_request`
  const toSign = ['AWS4-HMAC-SHA256', time, range, sha256(canonical)].join('\n')
  let key = hmac(`AWS4${keys.secretAccessKey}`, day)
  for (const part of [region, service, 'aws4_request']) key = hmac(key, part)
  const signature = hmac(key, toSign).toString('hex')
  const credential = `${keys.accessKeyId}/${range}`
  return {
    ...headers,
    authorization: `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${listed}, Signature=${signature}`,
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

/** In the order of the SDKs: environment, profile, web identity, container, instance. */
async function loadKeys(access: CloudAccess, region: string): Promise<AwsKeys | undefined> {
  return (
    fromEnvironment(access.env) ??
    (await fromProfile(access.env)) ??
    (await fromWebIdentity(access, region)) ??
    (await fromContainer(access)) ??
    (await fromInstance(access))
  )
}

function fromEnvironment(env: NodeJS.ProcessEnv): AwsKeys | undefined {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = env
  if (!accessKeyId || !secretAccessKey || env['AWS_PROFILE']) return undefined
  return { accessKeyId, secretAccessKey, sessionToken: env['AWS_SESSION_TOKEN'] || undefined }
}

async function fromProfile(env: NodeJS.ProcessEnv): Promise<AwsKeys | undefined> {
  const profile = env['AWS_PROFILE'] || 'default'
  const path = env['AWS_SHARED_CREDENTIALS_FILE'] || join(env['HOME'] ?? homedir(), '.aws', 'credentials')
  const section = new RegExp(`^\\s*\\[\\s*${profile.replaceAll(/[^\w]/g, '\\$&')}\\s*\\]([^[]*)`, 'm').exec(
    (await readText(path)) ?? '',
  )?.[1]
  const value = (name: string): string | undefined =>
    new RegExp(`^\\s*${name}\\s*=\\s*(\\S+)`, 'm').exec(section ?? '')?.[1]
  const accessKeyId = value('aws_access_key_id')
  const secretAccessKey = value('aws_secret_access_key')
  if (accessKeyId && secretAccessKey) {
    return { accessKeyId, secretAccessKey, sessionToken: value('aws_session_token') }
  }
  if (!env['AWS_PROFILE']) return undefined
  throw credentialsUnusable(
    path,
    `profile "${profile}" has no keys in it`,
    'For SSO and roles, run: eval "$(aws configure export-credentials --format env)"',
  )
}

/** A role by the token of a Kubernetes service account (`AssumeRoleWithWebIdentity`, which is not signed). */
async function fromWebIdentity(access: CloudAccess, region: string): Promise<AwsKeys | undefined> {
  const { AWS_WEB_IDENTITY_TOKEN_FILE: file, AWS_ROLE_ARN: role } = access.env
  if (!file || !role) return undefined
  const token = (
    await readFile(file, 'utf8').catch((error: unknown) => {
      throw credentialsUnusable(file, 'the token cannot be read', 'Check AWS_WEB_IDENTITY_TOKEN_FILE', error)
    })
  ).trim()
  const suffix = region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com'
  const url = endpointOf(access.env, 'STS', `https://sts.${region}.${suffix}`)
  const form = new URLSearchParams({
    Action: 'AssumeRoleWithWebIdentity',
    Version: '2011-06-15',
    RoleArn: role,
    RoleSessionName: access.env['AWS_ROLE_SESSION_NAME'] || 'fairlead',
    WebIdentityToken: token,
  })
  const headers = { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' }
  const answer = await access.call(url, { method: 'POST', headers, body: form.toString() })
  const tag = (name: string): string | undefined => {
    const text = new RegExp(`<${name}>([^<]*)</${name}>|"${name}"\\s*:\\s*"([^"]*)"`).exec(answer.text)
    return text?.[1] ?? text?.[2]
  }
  const accessKeyId = tag('AccessKeyId')
  const secretAccessKey = tag('SecretAccessKey')
  if (answer.status === 200 && accessKeyId && secretAccessKey) {
    return { accessKeyId, secretAccessKey, sessionToken: tag('SessionToken') }
  }
  const state = `it did not give the role "${role}": ${tag('Code') ?? `status ${answer.status}`}`
  throw credentialsUnusable(url.host, state, 'Check the trust policy of the role and its audience')
}

/** ECS and EKS pod identity. */
async function fromContainer(access: CloudAccess): Promise<AwsKeys | undefined> {
  const { env } = access
  const relative = env['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI']
  const full = env['AWS_CONTAINER_CREDENTIALS_FULL_URI']
  if (!relative && !full) return undefined
  const url = relative ? new URL(relative, CONTAINER_HOST) : new URL(full ?? '')
  const isNear = /^(localhost|127(\.\d+){3}|\[::1\]|169\.254\.170\.(2|23)|\[fd00:ec2::23\])$/.test(url.hostname)
  if (url.protocol !== 'https:' && !isNear) {
    throw credentialsUnusable(
      url.host,
      'it is not this machine and has no TLS',
      'Correct AWS_CONTAINER_CREDENTIALS_FULL_URI',
    )
  }
  const file = env['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE']
  const token = file ? (await readText(file))?.trim() : env['AWS_CONTAINER_AUTHORIZATION_TOKEN']
  const answer = await access.call(url, { headers: token ? { authorization: token } : {} })
  return toKeys(url.host, answer)
}

/** IMDSv2: a session token first. Nothing where there is no such service. */
async function fromInstance(access: CloudAccess): Promise<AwsKeys | undefined> {
  if (access.env['AWS_EC2_METADATA_DISABLED'] === 'true') return undefined
  const host = access.env['AWS_EC2_METADATA_SERVICE_ENDPOINT'] || INSTANCE_HOST
  const path = '/latest/meta-data/iam/security-credentials/'
  const session = await access.probe(new URL('/latest/api/token', host), {
    method: 'PUT',
    headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '300' },
  })
  if (session?.status !== 200) return undefined
  const headers = { 'x-aws-ec2-metadata-token': session.text }
  const roles = await access.call(new URL(path, host), { headers })
  const role = roles.status === 200 ? roles.text.trim().split('\n')[0] : ''
  if (!role) return undefined
  const url = new URL(`${path}${encodeURIComponent(role)}`, host)
  return toKeys(url.host, await access.call(url, { headers }))
}

function toKeys(host: string, answer: { status: number; json: unknown }): AwsKeys {
  const accessKeyId = textAt(answer.json, 'AccessKeyId')
  const secretAccessKey = textAt(answer.json, 'SecretAccessKey')
  if (answer.status !== 200 || !accessKeyId || !secretAccessKey) {
    throw credentialsUnusable(
      host,
      `it gave no keys (status ${answer.status})`,
      'Give the task, pod or instance a role',
    )
  }
  return { accessKeyId, secretAccessKey, sessionToken: textAt(answer.json, 'Token') }
}
