import { createSign } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Environment } from '../lifecycle/resource.ts'
import type { Answer, Caller } from './call.ts'
import { CallFailed, ProviderFault, quoteProvider } from './fault.ts'
import { parseJson, textAt } from './json.ts'
import { createTokenCache, requireSafe } from './token.ts'
import type { Token } from './token.ts'

export interface GoogleAccess {
  readonly env: Environment
  readonly caller: Caller
  readonly now: () => number
}

const scope = 'https://www.googleapis.com/auth/cloud-platform'

/**
 * Access tokens by Application Default Credentials: the file that GOOGLE_APPLICATION_CREDENTIALS names (service account key, workload
 * identity federation with a file source, user), gcloud's own file, else the metadata server.
 */
export function createGoogleCredentials(access: GoogleAccess): {
  token(signal: AbortSignal): Promise<string>
  renew(): void
  project(signal: AbortSignal): Promise<string>
  universe(): Promise<string>
} {
  const cache = createTokenCache(access.now, async (signal) => {
    const file = await readCredentialsFile(access.env)
    if (file === undefined) return await fromMetadata(access, signal)
    switch (file['type']) {
      case 'service_account':
        return await fromServiceAccount(access, file, signal)
      case 'external_account':
        return await fromExternalAccount(access, file, signal)
      case 'authorized_user':
        return await fromUser(access, file, signal)
      default:
        throw unusable('its type is not service_account, external_account or authorized_user')
    }
  })
  return {
    token: (signal) => cache.get(signal),
    renew: () => cache.renew(),
    async project(signal) {
      const file = await readCredentialsFile(access.env)
      const known = access.env['GOOGLE_CLOUD_PROJECT'] || textAt(file, 'project_id') || textAt(file, 'quota_project_id')
      if (known) return known
      if (file !== undefined)
        throw new ProviderFault(
          'absent',
          'it names no project',
          'Write gcp-sm://project/name, or set GOOGLE_CLOUD_PROJECT',
        )
      return (await askMetadata(access, 'project/project-id', signal)).body.trim()
    },
    async universe() {
      const named =
        access.env['GOOGLE_CLOUD_UNIVERSE_DOMAIN'] || textAt(await readCredentialsFile(access.env), 'universe_domain')
      return named && /^[a-z0-9.-]+$/.test(named) ? named : 'googleapis.com'
    },
  }
}

type CredentialsFile = Readonly<Record<string, unknown>>

async function readCredentialsFile(env: Environment): Promise<CredentialsFile | undefined> {
  const named = env['GOOGLE_APPLICATION_CREDENTIALS']
  const folder = env['CLOUDSDK_CONFIG'] ?? join(env['HOME'] ?? homedir(), '.config', 'gcloud')
  let text: string
  try {
    text = await readFile(named || join(folder, 'application_default_credentials.json'), 'utf8')
  } catch {
    if (named) throw unusable('it cannot be read')
    return undefined
  }
  const file = parseJson(text)
  if (file === undefined) throw unusable('it is not a JSON object')
  return file
}

function unusable(state: string): ProviderFault {
  return new ProviderFault(
    'denied',
    `the credentials file is of no use: ${state}`,
    'Let GOOGLE_APPLICATION_CREDENTIALS name a credentials file, or remove it to use the identity of the pod',
  )
}

/** The grant of RFC 7523: a JWT signed with the key buys an access token. */
async function fromServiceAccount(access: GoogleAccess, file: CredentialsFile, signal: AbortSignal): Promise<Token> {
  const email = textAt(file, 'client_email')
  const key = textAt(file, 'private_key')
  if (!email || !key) throw unusable('client_email or private_key is missing')
  const url = textAt(file, 'token_uri') ?? 'https://oauth2.googleapis.com/token'
  const issued = Math.floor(access.now() / 1000)
  const header = { alg: 'RS256', typ: 'JWT', kid: textAt(file, 'private_key_id') }
  const claims = { iss: email, scope, aud: url, iat: issued, exp: issued + 3600 }
  const unsigned = `${toBase64Url(header)}.${toBase64Url(claims)}`
  let signature: string
  try {
    signature = createSign('RSA-SHA256').update(unsigned).sign(key, 'base64url')
  } catch {
    throw unusable('private_key is not a PEM key')
  }
  const body = { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: `${unsigned}.${signature}` }
  return toToken(access, await postForm(access, url, body, signal))
}

function toBase64Url(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

async function fromUser(access: GoogleAccess, file: CredentialsFile, signal: AbortSignal): Promise<Token> {
  const body = {
    grant_type: 'refresh_token',
    client_id: textAt(file, 'client_id') ?? '',
    client_secret: textAt(file, 'client_secret') ?? '',
    refresh_token: textAt(file, 'refresh_token') ?? '',
  }
  const url = textAt(file, 'token_uri') ?? 'https://oauth2.googleapis.com/token'
  return toToken(access, await postForm(access, url, body, signal))
}

/** Workload identity federation: the token of another issuer, in a file, is exchanged (RFC 8693), then a service account may be taken on. */
async function fromExternalAccount(access: GoogleAccess, file: CredentialsFile, signal: AbortSignal): Promise<Token> {
  const path = textAt(file, 'credential_source', 'file')
  if (path === undefined) throw unusable('its credential_source is not a file')
  const subject = await readSubjectToken(file, path)
  const body = {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    audience: textAt(file, 'audience') ?? '',
    scope,
    requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    subject_token: subject,
    subject_token_type: textAt(file, 'subject_token_type') ?? 'urn:ietf:params:oauth:token-type:jwt',
  }
  const url = textAt(file, 'token_url') ?? 'https://sts.googleapis.com/v1/token'
  const federated = toToken(access, await postForm(access, url, body, signal))
  const impersonation = textAt(file, 'service_account_impersonation_url')
  if (impersonation === undefined) return federated
  const answer = await access.caller.call({
    method: 'POST',
    url: requireSafe(impersonation, 'service_account_impersonation_url'),
    headers: { authorization: `Bearer ${federated.value}`, 'content-type': 'application/json' },
    body: JSON.stringify({ scope: [scope], lifetime: '3600s' }),
    signal,
  })
  const json = parseJson(answer.body)
  const value = textAt(json, 'accessToken')
  if (answer.status !== 200 || value === undefined) throw refused(answer)
  return { value, expiresAt: Date.parse(textAt(json, 'expireTime') ?? '') || access.now() + 3_600_000 }
}

async function readSubjectToken(file: CredentialsFile, path: string): Promise<string> {
  let text: string
  try {
    text = (await readFile(path, 'utf8')).trim()
  } catch {
    throw unusable(`the token file ${JSON.stringify(path)} cannot be read`)
  }
  if (textAt(file, 'credential_source', 'format', 'type') !== 'json') return text
  const field = textAt(file, 'credential_source', 'format', 'subject_token_field_name') ?? ''
  const token = textAt(parseJson(text), field)
  if (token === undefined)
    throw unusable(`the token file ${JSON.stringify(path)} has no field ${JSON.stringify(field)}`)
  return token
}

async function fromMetadata(access: GoogleAccess, signal: AbortSignal): Promise<Token> {
  return toToken(access, await askMetadata(access, 'instance/service-accounts/default/token', signal))
}

async function askMetadata({ env, caller }: GoogleAccess, path: string, signal: AbortSignal): Promise<Answer> {
  const host = env['GCE_METADATA_HOST'] || 'metadata.google.internal'
  const url = new URL(`http://${host}/computeMetadata/v1/${path}`)
  let answer: Answer
  try {
    answer = await caller.call({ url, headers: { 'metadata-flavor': 'Google' }, signal, timeoutMs: 3000 })
  } catch (error) {
    if (!(error instanceof CallFailed)) throw error
    const state = `there are no Google credentials: no credentials file, and the metadata server at ${error.message}`
    const hint = 'Give the pod an identity (Workload Identity), or set GOOGLE_APPLICATION_CREDENTIALS'
    // On a node that has just begun, it answers some seconds later: worth another try.
    throw new ProviderFault('unavailable', state, hint)
  }
  // Without it, something else answers at that name.
  if (answer.headers['metadata-flavor'] !== 'Google')
    throw new ProviderFault('denied', `${host} is not the metadata server of Google`, 'Check GCE_METADATA_HOST')
  return answer
}

async function postForm(
  { caller }: GoogleAccess,
  url: string,
  body: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Answer> {
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const text = new URLSearchParams(body).toString()
  return await caller.call({ method: 'POST', url: requireSafe(url, 'token_uri'), headers, body: text, signal })
}

function toToken({ now }: GoogleAccess, answer: Answer): Token {
  const json = parseJson(answer.body)
  const value = textAt(json, 'access_token')
  if (answer.status !== 200 || value === undefined) throw refused(answer)
  const seconds = Number(json?.['expires_in'])
  return { value, expiresAt: now() + (seconds > 0 ? seconds : 3600) * 1000 }
}

function refused(answer: Answer): ProviderFault {
  const json = parseJson(answer.body)
  const what = textAt(json, 'error') ?? textAt(json, 'error', 'status') ?? `status ${answer.status}`
  const message = quoteProvider(textAt(json, 'error_description') ?? textAt(json, 'error', 'message'), answer)
  return new ProviderFault(
    answer.status >= 500 || answer.status === 429 ? 'unavailable' : 'denied',
    `Google gave no access token: ${what}${message ? ` ${message}` : ''}`,
    'Check the service account: that it exists, that its key is not revoked, and that this identity may act as it',
  )
}
