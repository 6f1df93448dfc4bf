import { createSign } from 'node:crypto'
import { homedir } from 'node:os'
import { join } from 'node:path'

import { credentialsUnusable } from '../errors.ts'
import type { Credentials } from './auth.ts'
import { parseJson } from './answers.ts'
import { openAccess, readText, textAt } from './credentials-access.ts'
import type { CloudAccess, CloudAnswer } from './credentials-access.ts'
import { logInToEcr, logInToEcrPublic, parseEcrHost } from './credentials-aws.ts'

const GOOGLE_SCOPE = 'https://www.googleapis.com/auth/cloud-platform'
const GOOGLE_TOKEN_URL = 'https://oauth2.googleapis.com/token'
/** The user name of who comes with a token of ACR. */
const ACR_USER = '00000000-0000-0000-0000-000000000000'
const ACR_RESOURCE = 'https://containerregistry.azure.net/'

/**
 * Credentials for a registry of AWS, Google Cloud or Azure by the identity of this process there. Nothing for other
 * registries and for a process without identity; `FAIRLEAD_OCI_CREDENTIALS` when the identity is not accepted.
 */
export async function loadCloudCredentials(
  registry: string,
  env: NodeJS.ProcessEnv,
  signal?: AbortSignal,
): Promise<Credentials | undefined> {
  const ecr = parseEcrHost(registry)
  if (ecr) return logInToEcr(ecr, openAccess(env, signal))
  if (registry === 'public.ecr.aws') {
    // Everybody may read there, so keys that are not accepted are no reason not to.
    return logInToEcrPublic(openAccess(env, signal)).catch(() => {
      signal?.throwIfAborted()
      return undefined
    })
  }
  if (/(^|\.)gcr\.io$|-docker\.pkg\.dev$/.test(registry)) return logInToGoogle(openAccess(env, signal))
  if (/^[a-z0-9-]+\.azurecr\.(io|cn|us|de)$/.test(registry)) {
    return logInToAcr(registry, new URL(`https://${registry}`), openAccess(env, signal))
  }
  return undefined
}

/**
 * Artifact Registry and Container Registry take an access token as password. Application Default Credentials: the file
 * that `GOOGLE_APPLICATION_CREDENTIALS` names, that of `gcloud auth application-default login`, the metadata server.
 */
async function logInToGoogle(access: CloudAccess): Promise<Credentials | undefined> {
  const password = await googleToken(access)
  return password === undefined ? undefined : { username: 'oauth2accesstoken', password }
}

async function googleToken(access: CloudAccess): Promise<string | undefined> {
  const { env } = access
  const named = env['GOOGLE_APPLICATION_CREDENTIALS']
  const folder = env['CLOUDSDK_CONFIG'] || join(env['HOME'] ?? homedir(), '.config', 'gcloud')
  const path = named || join(folder, 'application_default_credentials.json')
  const text = await readText(path)
  if (text === undefined) {
    if (!named) return googleMetadataToken(access)
    throw credentialsUnusable(path, 'it cannot be read', 'Correct GOOGLE_APPLICATION_CREDENTIALS')
  }
  const key = parseJson(Buffer.from(text))
  const type = textAt(key, 'type')
  if (type === 'service_account') return googleGrant(access, path, key, jwtGrant(path, key, access.now()))
  if (type === 'authorized_user') {
    return googleGrant(access, path, key, {
      grant_type: 'refresh_token',
      client_id: textAt(key, 'client_id') ?? '',
      client_secret: textAt(key, 'client_secret') ?? '',
      refresh_token: textAt(key, 'refresh_token') ?? '',
    })
  }
  throw credentialsUnusable(
    path,
    `it is of type "${type ?? 'none'}"`,
    'Use the key of a service account, or gcloud auth application-default login, or docker-credential-gcloud',
  )
}

/** RFC 7523, signed with the key of a service account. */
function jwtGrant(path: string, key: unknown, now: number): Record<string, string> {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const issuedAt = Math.floor(now / 1000)
  const claims = {
    iss: textAt(key, 'client_email'),
    scope: GOOGLE_SCOPE,
    aud: textAt(key, 'token_uri') ?? GOOGLE_TOKEN_URL,
    iat: issuedAt,
    exp: issuedAt + 3600,
  }
  const unsigned = `${part({ alg: 'RS256', typ: 'JWT', kid: textAt(key, 'private_key_id') })}.${part(claims)}`
  try {
    const signature = createSign('RSA-SHA256')
      .update(unsigned)
      .sign(textAt(key, 'private_key') ?? '', 'base64url')
    return { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: `${unsigned}.${signature}` }
  } catch {
    throw credentialsUnusable(path, 'its "private_key" is no PEM key', 'Download the key of the service account again')
  }
}

async function googleGrant(
  access: CloudAccess,
  path: string,
  key: unknown,
  grant: Record<string, string>,
): Promise<string> {
  const url = new URL(textAt(key, 'token_uri') ?? GOOGLE_TOKEN_URL)
  const answer = await postForm(access, url, grant)
  const token = textAt(answer.json, 'access_token')
  if (answer.status === 200 && token) return token
  throw credentialsUnusable(
    path,
    `${url.host} gave no token for it: ${saidBy(answer)}`,
    'Check that the key is still valid',
  )
}

async function googleMetadataToken(access: CloudAccess): Promise<string | undefined> {
  const host = access.env['GCE_METADATA_HOST'] || 'metadata.google.internal'
  const url = new URL(`http://${host}/computeMetadata/v1/instance/service-accounts/default/token`)
  const answer = await access.probe(url, { headers: { 'metadata-flavor': 'Google' } })
  return answer?.status === 200 ? textAt(answer.json, 'access_token') : undefined
}

/**
 * ACR gives a refresh token for an access token of Microsoft Entra (`oauth2/exchange`, "Azure Container Registry
 * authentication"), which then is the password.
 */
export async function logInToAcr(registry: string, origin: URL, access: CloudAccess): Promise<Credentials | undefined> {
  const token = await entraToken(access)
  if (token === undefined) return undefined
  const tenant = access.env['AZURE_TENANT_ID']
  const answer = await postForm(access, new URL('/oauth2/exchange', origin), {
    grant_type: 'access_token',
    service: registry,
    ...(tenant ? { tenant } : {}),
    access_token: token,
  })
  const password = textAt(answer.json, 'refresh_token')
  if (answer.status === 200 && password) return { username: ACR_USER, password }
  throw credentialsUnusable(
    registry,
    `it gave no token: ${saidBy(answer)}`,
    'Give this identity the role AcrPull or AcrPush',
  )
}

/** Client secret, federated token (workload identity), managed identity: the order of DefaultAzureCredential. */
async function entraToken(access: CloudAccess): Promise<string | undefined> {
  const { env } = access
  const { AZURE_TENANT_ID: tenant, AZURE_CLIENT_ID: client, AZURE_CLIENT_SECRET: secret } = env
  const file = env['AZURE_FEDERATED_TOKEN_FILE']
  if (!tenant || !client || !(secret || file)) return managedIdentityToken(access)
  const proof: Record<string, string> = secret
    ? { client_secret: secret }
    : {
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: (await readText(file ?? ''))?.trim() ?? '',
      }
  const authority = env['AZURE_AUTHORITY_HOST'] || 'https://login.microsoftonline.com'
  const url = new URL(`/${encodeURIComponent(tenant)}/oauth2/v2.0/token`, authority)
  const answer = await postForm(access, url, {
    grant_type: 'client_credentials',
    client_id: client,
    scope: `${ACR_RESOURCE}.default`,
    ...proof,
  })
  const token = textAt(answer.json, 'access_token')
  if (answer.status === 200 && token) return token
  throw credentialsUnusable(url.host, `it gave no token: ${saidBy(answer)}`, 'Check tenant, client and its secret')
}

async function managedIdentityToken(access: CloudAccess): Promise<string | undefined> {
  const { IDENTITY_ENDPOINT: endpoint, IDENTITY_HEADER: header, AZURE_CLIENT_ID: client } = access.env
  const isPlatform = Boolean(endpoint && header)
  const instance = access.env['AZURE_POD_IDENTITY_AUTHORITY_HOST'] || 'http://169.254.169.254'
  const url = isPlatform ? new URL(endpoint ?? '') : new URL('/metadata/identity/oauth2/token', instance)
  url.searchParams.set('api-version', isPlatform ? '2019-08-01' : '2018-02-01')
  url.searchParams.set('resource', ACR_RESOURCE)
  if (client) url.searchParams.set('client_id', client)
  const headers: Record<string, string> = isPlatform ? { 'x-identity-header': header ?? '' } : { metadata: 'true' }
  const answer = await access.probe(url, { headers })
  return answer?.status === 200 ? textAt(answer.json, 'access_token') : undefined
}

function postForm(access: CloudAccess, url: URL, form: Record<string, string>): Promise<CloudAnswer> {
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  return access.call(url, { method: 'POST', headers, body: new URLSearchParams(form).toString() })
}

/** What OAuth 2.0 (RFC 6749 section 5.2) and ACR say of an error; never the token. */
function saidBy({ status, json }: CloudAnswer): string {
  const error = textAt(json, 'error_description') ?? textAt(json, 'error')
  return error ? (error.split('\n', 1)[0]?.slice(0, 200) ?? '') : `status ${status}`
}
