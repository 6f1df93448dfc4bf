import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Environment } from '../lifecycle/resource.ts'
import type { Caller } from './call.ts'
import { CallFailed, ProviderFault, quoteProvider } from './fault.ts'
import { parseJson, textAt } from './json.ts'
import type { AwsCredentials } from './sigv4.ts'

export interface AwsAccess {
  readonly env: Environment
  readonly caller: Caller
  readonly now: () => number
}

/** New ones are fetched when less than this is left: five minutes, as the SDKs do. */
const expiryWindowMs = 5 * 60_000

/**
 * Credentials of this process, in the order of the SDKs: environment keys, shared profile file, web identity (IRSA), container endpoint
 * (EKS Pod Identity, ECS), instance metadata (IMDSv2). Kept until shortly before they expire; `renew` drops them.
 */
export function createAwsCredentials(access: AwsAccess): {
  get(region: string, signal: AbortSignal): Promise<AwsCredentials>
  renew(): void
} {
  let kept: AwsCredentials | undefined
  let loading: Promise<AwsCredentials> | undefined
  return {
    async get(region, signal) {
      const now = access.now()
      if (kept && (kept.expiresAt === undefined || now < kept.expiresAt - expiryWindowMs)) return kept
      loading ??= loadAwsCredentials(access, region, signal)
        .then((credentials) => (kept = credentials))
        .finally(() => (loading = undefined))
      try {
        return await loading
      } catch (error) {
        // Those there are may serve for some minutes more.
        if (kept?.expiresAt !== undefined && now < kept.expiresAt) return kept
        throw error
      }
    },
    renew() {
      kept = undefined
    },
  }
}

async function loadAwsCredentials(access: AwsAccess, region: string, signal: AbortSignal): Promise<AwsCredentials> {
  const { env } = access
  return (
    fromEnvironment(env) ??
    (await fromProfile(env)) ??
    (await fromWebIdentity(access, region, signal)) ??
    (await fromContainer(access, signal)) ??
    (await fromInstance(access, signal)) ??
    nothing()
  )
}

function nothing(): never {
  throw new ProviderFault(
    'denied',
    'there are no AWS credentials: no keys in the environment, no profile file, no web identity, no container endpoint, no instance role',
    'Give the pod a role (EKS Pod Identity, or IRSA by its service account), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
  )
}

function fromEnvironment(env: Environment): AwsCredentials | undefined {
  // A profile that is asked for by name wins over keys, as in the SDKs.
  if (env['AWS_PROFILE']) return undefined
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = env
  if (!accessKeyId || !secretAccessKey) return undefined
  return { accessKeyId, secretAccessKey, sessionToken: env['AWS_SESSION_TOKEN'] || undefined }
}

async function fromProfile(env: Environment): Promise<AwsCredentials | undefined> {
  const profile = await readProfile(env)
  const { aws_access_key_id: accessKeyId, aws_secret_access_key: secretAccessKey } = profile ?? {}
  if (!accessKeyId || !secretAccessKey) {
    if (!env['AWS_PROFILE']) return undefined
    throw new ProviderFault(
      'denied',
      `profile ${JSON.stringify(env['AWS_PROFILE'])} has no keys in the shared credentials file`,
      'Only profiles with aws_access_key_id and aws_secret_access_key are read; for SSO, run `aws configure export-credentials --format env`',
    )
  }
  return { accessKeyId, secretAccessKey, sessionToken: profile?.['aws_session_token'] }
}

/** The entries of the chosen profile in the shared credentials file and the shared config file. */
async function readProfile(env: Environment): Promise<Record<string, string> | undefined> {
  const home = env['HOME'] ?? homedir()
  const name = env['AWS_PROFILE'] || 'default'
  const credentials = await readText(env['AWS_SHARED_CREDENTIALS_FILE'] ?? join(home, '.aws', 'credentials'))
  const config = await readText(env['AWS_CONFIG_FILE'] ?? join(home, '.aws', 'config'))
  const sections = [
    parseProfile(config, name === 'default' ? 'default' : `profile ${name}`),
    parseProfile(credentials, name),
  ]
  return sections.some((section) => section !== undefined) ? Object.assign({}, ...sections) : undefined
}

/** The region of the chosen profile, for whoever has none in the environment. */
export async function readProfileRegion(env: Environment): Promise<string | undefined> {
  return (await readProfile(env))?.['region']
}

function parseProfile(text: string | undefined, wanted: string): Record<string, string> | undefined {
  let section: Record<string, string> | undefined
  let isWanted = false
  for (const line of (text ?? '').split('\n')) {
    const header = /^\s*\[\s*([^\]]+?)\s*\]/.exec(line)?.[1]
    if (header !== undefined) {
      isWanted = header === wanted
      if (isWanted) section ??= {}
    } else if (isWanted && section) {
      const [, key, value] = /^\s*([a-z_]+)\s*=\s*(.*?)\s*$/.exec(line) ?? []
      if (key !== undefined && value !== undefined) section[key] = value
    }
  }
  return section
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch {
    return undefined
  }
}

/** IRSA: the service account's token for a role, by STS. The token is read again each time, because the kubelet renews it. */
async function fromWebIdentity(
  { env, caller }: AwsAccess,
  region: string,
  signal: AbortSignal,
): Promise<AwsCredentials | undefined> {
  const { AWS_WEB_IDENTITY_TOKEN_FILE: file, AWS_ROLE_ARN: role } = env
  if (!file || !role) return undefined
  const token = await readToken(file, 'AWS_WEB_IDENTITY_TOKEN_FILE')
  const body = new URLSearchParams({
    Action: 'AssumeRoleWithWebIdentity',
    Version: '2011-06-15',
    RoleArn: role,
    RoleSessionName: env['AWS_ROLE_SESSION_NAME'] || 'fairlead',
    WebIdentityToken: token,
  }).toString()
  const url = findAwsEndpoint(env, 'sts', region)
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const answer = await caller.call({ method: 'POST', url, headers, body, signal })
  if (answer.status !== 200) {
    const message = xmlText(answer.body, 'Message')
    throw new ProviderFault(
      answer.status >= 500 || answer.status === 429 ? 'unavailable' : 'denied',
      `STS refused the role ${JSON.stringify(role)}: ${xmlText(answer.body, 'Code') ?? answer.status} ${quoteProvider(message, answer)}`,
      'Let the trust policy of the role name the OIDC provider of the cluster and this service account',
    )
  }
  return toCredentials(
    {
      AccessKeyId: xmlText(answer.body, 'AccessKeyId'),
      SecretAccessKey: xmlText(answer.body, 'SecretAccessKey'),
      Token: xmlText(answer.body, 'SessionToken'),
      Expiration: xmlText(answer.body, 'Expiration'),
    },
    'STS',
  )
}

function xmlText(body: string, tag: string): string | undefined {
  const text = new RegExp(`<${tag}>([^<]*)</${tag}>`).exec(body)?.[1]
  return text
    ?.replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&amp;', '&')
}

/** EKS Pod Identity and ECS: an endpoint next to the container. */
async function fromContainer({ env, caller }: AwsAccess, signal: AbortSignal): Promise<AwsCredentials | undefined> {
  const relative = env['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI']
  const full = env['AWS_CONTAINER_CREDENTIALS_FULL_URI']
  if (!relative && !full) return undefined
  const url = relative ? new URL(relative, 'http://169.254.170.2') : new URL(full ?? '')
  if (url.protocol !== 'https:' && !isContainerHost(url.hostname)) {
    throw new ProviderFault(
      'denied',
      `AWS_CONTAINER_CREDENTIALS_FULL_URI points to ${JSON.stringify(url.host)} over plain HTTP`,
      'Plain HTTP is only for loopback and the container endpoints 169.254.170.2, 169.254.170.23 and [fd00:ec2::23]',
    )
  }
  const file = env['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE']
  const token = file
    ? await readToken(file, 'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE')
    : env['AWS_CONTAINER_AUTHORIZATION_TOKEN']
  const answer = await caller.call({ url, headers: token ? { authorization: token } : {}, signal })
  if (answer.status !== 200) throw refusedBy('the container credential endpoint', answer.status)
  return toCredentials(parseJson(answer.body), 'the container credential endpoint')
}

function isContainerHost(host: string): boolean {
  if (host === 'localhost' || host === '[::1]' || host === '[fd00:ec2::23]') return true
  return isIP(host) === 4 && (host.startsWith('127.') || host === '169.254.170.2' || host === '169.254.170.23')
}

/** IMDSv2 only: its first version can be reached through a proxy that an attacker talks to. */
async function fromInstance(access: AwsAccess, signal: AbortSignal): Promise<AwsCredentials | undefined> {
  const get = await openInstanceMetadata(access, signal)
  if (get === undefined) return undefined
  const base = '/latest/meta-data/iam/security-credentials/'
  const role = (await get(base)).split('\n', 1)[0]?.trim()
  if (!role) return undefined
  return toCredentials(parseJson(await get(base + encodeURIComponent(role))), 'the instance metadata service')
}

/** Reads the metadata of the instance; undefined where there is none. */
async function openInstanceMetadata(
  { env, caller }: AwsAccess,
  signal: AbortSignal,
): Promise<((path: string) => Promise<string>) | undefined> {
  if (env['AWS_EC2_METADATA_DISABLED']?.toLowerCase() === 'true') return undefined
  const ipv6 = env['AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE']?.toLowerCase() === 'ipv6'
  const endpoint =
    env['AWS_EC2_METADATA_SERVICE_ENDPOINT'] || (ipv6 ? 'http://[fd00:ec2::254]' : 'http://169.254.169.254')
  // Nobody answers at that address outside EC2, and a packet that is dropped is only noticed by waiting.
  const timeoutMs = 1000
  let token: string
  try {
    const answer = await caller.call({
      method: 'PUT',
      url: new URL('/latest/api/token', endpoint),
      headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '21600' },
      signal,
      timeoutMs,
    })
    if (answer.status !== 200) throw refusedBy('the instance metadata service', answer.status)
    token = answer.body
  } catch (error) {
    if (error instanceof CallFailed) return undefined
    throw error
  }
  return async (path) => {
    const headers = { 'x-aws-ec2-metadata-token': token }
    const answer = await caller.call({ url: new URL(path, endpoint), headers, signal, timeoutMs })
    if (answer.status === 404) return ''
    if (answer.status !== 200) throw refusedBy('the instance metadata service', answer.status)
    return answer.body
  }
}

/** The region of the instance, for whoever has none in the environment. */
export async function readInstanceRegion(access: AwsAccess, signal: AbortSignal): Promise<string | undefined> {
  const get = await openInstanceMetadata(access, signal)
  return (await get?.('/latest/meta-data/placement/region'))?.trim() || undefined
}

function refusedBy(who: string, status: number): ProviderFault {
  return new ProviderFault(
    status >= 500 || status === 429 ? 'unavailable' : 'denied',
    `${who} answered ${status}`,
    'Check that a role is associated with this pod, task or instance',
  )
}

async function readToken(path: string, variable: string): Promise<string> {
  const text = (await readText(path))?.trim()
  if (text) return text
  throw new ProviderFault(
    'denied',
    `the file that ${variable} names, ${JSON.stringify(path)}, cannot be read or is empty`,
    'Mount the projected service account token there, or remove the variable',
  )
}

function toCredentials(answer: unknown, who: string): AwsCredentials {
  const accessKeyId = textAt(answer, 'AccessKeyId')
  const secretAccessKey = textAt(answer, 'SecretAccessKey')
  if (!accessKeyId || !secretAccessKey)
    throw new ProviderFault('unavailable', `${who} gave no credentials`, 'Check the role of this pod, task or instance')
  const expiration = Date.parse(textAt(answer, 'Expiration') ?? '')
  return {
    accessKeyId,
    secretAccessKey,
    sessionToken: textAt(answer, 'Token'),
    expiresAt: Number.isNaN(expiration) ? undefined : expiration,
  }
}

/** Where a service of a region answers: the endpoint variables of the SDKs, else the public name. */
export function findAwsEndpoint(env: Environment, service: 'secretsmanager' | 'ssm' | 'sts', region: string): URL {
  const variable = { secretsmanager: 'SECRETS_MANAGER', ssm: 'SSM', sts: 'STS' }[service]
  const isIgnored = env['AWS_IGNORE_CONFIGURED_ENDPOINT_URLS']?.toLowerCase() === 'true'
  const configured = isIgnored ? undefined : env[`AWS_ENDPOINT_URL_${variable}`] || env['AWS_ENDPOINT_URL']
  if (configured) return new URL(configured)
  const isFips = env['AWS_USE_FIPS_ENDPOINT']?.toLowerCase() === 'true'
  // In the GovCloud regions the plain names of these services are FIPS endpoints for some, and AWS has no "-fips" names of others.
  const suffix = isFips && !(service !== 'secretsmanager' && region.startsWith('us-gov-')) ? '-fips' : ''
  return new URL(
    `https://${service}${suffix}.${region}.${region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com'}`,
  )
}
