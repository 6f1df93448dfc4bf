import { readFile } from 'node:fs/promises'
import type { Environment } from '../lifecycle/resource.ts'
import type { Answer, Caller } from './call.ts'
import { CallFailed, ProviderFault, quoteProvider } from './fault.ts'
import { parseJson, textAt } from './json.ts'
import { createTokenCache, requireSafe } from './token.ts'
import type { Token } from './token.ts'

export interface AzureAccess {
  readonly env: Environment
  readonly caller: Caller
  readonly now: () => number
}

/**
 * Tokens in the order of DefaultAzureCredential: client secret, workload identity (federated token file), managed identity (endpoint of App
 * Service and Container Apps, else the instance metadata service).
 */
export function createAzureCredentials(access: AzureAccess): {
  token(resource: string, tenant: string | undefined, signal: AbortSignal): Promise<string>
  renew(resource: string): void
} {
  const caches = new Map<string, ReturnType<typeof createTokenCache>>()
  return {
    async token(resource, tenant, signal) {
      let cache = caches.get(resource)
      if (cache === undefined) {
        cache = createTokenCache(access.now, (given) => fetchToken(access, resource, tenant, given))
        caches.set(resource, cache)
      }
      return await cache.get(signal)
    },
    renew: (resource) => void caches.delete(resource),
  }
}

async function fetchToken(
  access: AzureAccess,
  resource: string,
  challengedTenant: string | undefined,
  signal: AbortSignal,
): Promise<Token> {
  const { env } = access
  const tenant = env['AZURE_TENANT_ID'] || challengedTenant
  const { AZURE_CLIENT_ID: client, AZURE_CLIENT_SECRET: secret, AZURE_FEDERATED_TOKEN_FILE: file } = env
  if (client && tenant && secret)
    return await grant(access, tenant, { client_id: client, client_secret: secret }, resource, signal)
  if (client && tenant && file) {
    const proof = {
      client_id: client,
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: await readAssertion(file),
    }
    return await grant(access, tenant, proof, resource, signal)
  }
  return await fromManagedIdentity(access, resource, signal)
}

async function readAssertion(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch {
    throw new ProviderFault(
      'denied',
      `the file that AZURE_FEDERATED_TOKEN_FILE names, ${JSON.stringify(path)}, cannot be read`,
      'Label the pod azure.workload.identity/use: "true", or remove the variable',
    )
  }
}

/** The client credentials grant (RFC 6749 section 4.4). */
async function grant(
  { env, caller, now }: AzureAccess,
  tenant: string,
  proof: Readonly<Record<string, string>>,
  resource: string,
  signal: AbortSignal,
): Promise<Token> {
  const authority = requireSafe(
    env['AZURE_AUTHORITY_HOST'] || 'https://login.microsoftonline.com',
    'AZURE_AUTHORITY_HOST',
  )
  const url = new URL(`/${encodeURIComponent(tenant)}/oauth2/v2.0/token`, authority)
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    scope: `${resource}/.default`,
    ...proof,
  }).toString()
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const answer = await caller.call({ method: 'POST', url, headers, body, signal })
  return toToken(answer, now())
}

async function fromManagedIdentity(
  { env, caller, now }: AzureAccess,
  resource: string,
  signal: AbortSignal,
): Promise<Token> {
  const { IDENTITY_ENDPOINT: endpoint, IDENTITY_HEADER: header, AZURE_CLIENT_ID: client } = env
  const isPlatform = Boolean(endpoint && header)
  const url = isPlatform
    ? new URL(endpoint ?? '')
    : new URL('/metadata/identity/oauth2/token', env['AZURE_POD_IDENTITY_AUTHORITY_HOST'] || 'http://169.254.169.254')
  url.searchParams.set('api-version', isPlatform ? '2019-08-01' : '2018-02-01')
  url.searchParams.set('resource', resource)
  if (client) url.searchParams.set('client_id', client)
  const headers: Record<string, string> = isPlatform ? { 'x-identity-header': header ?? '' } : { metadata: 'true' }
  try {
    return toToken(await caller.call({ url, headers, signal, timeoutMs: 3000 }), now())
  } catch (error) {
    if (!(error instanceof CallFailed)) throw error
    const state = `there are no Azure credentials: no client secret, no federated token, and the managed identity at ${error.message}`
    const hint = 'Give the pod a workload identity, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET'
    // On a node that has just begun, it answers some seconds later: worth another try.
    throw new ProviderFault('unavailable', state, hint)
  }
}

function toToken(answer: Answer, now: number): Token {
  const json = parseJson(answer.body)
  const value = textAt(json, 'access_token')
  if (answer.status === 200 && value !== undefined) {
    const seconds = Number(json?.['expires_in'])
    const until = Number(json?.['expires_on'])
    return { value, expiresAt: seconds > 0 ? now + seconds * 1000 : until > 0 ? until * 1000 : now + 3_600_000 }
  }
  const message = quoteProvider(textAt(json, 'error_description'), answer)
  throw new ProviderFault(
    answer.status >= 500 || answer.status === 429 ? 'unavailable' : 'denied',
    `Microsoft Entra gave no token: ${textAt(json, 'error') ?? `status ${answer.status}`}${message ? ` ${message}` : ''}`,
    'Check tenant, client and the federated credential (issuer, subject and audience) of this identity',
  )
}
