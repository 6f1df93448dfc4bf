import { createAzureCredentials } from './azure-credentials.ts'
import { createCaller } from './call.ts'
import type { Answer } from './call.ts'
import type { DriverOptions, SecretDriver } from './driver.ts'
import { ProviderFault, quoteProvider } from './fault.ts'
import { parseJson, textAt } from './json.ts'
import type { SecretReference } from './reference.ts'

/** Where vaults are, by the authority that signs for them. */
const vaultSuffixes: Readonly<Record<string, string>> = {
  'login.microsoftonline.us': 'vault.usgovcloudapi.net',
  'login.chinacloudapi.cn': 'vault.azure.cn',
  'login.partner.microsoftonline.cn': 'vault.azure.cn',
}

const apiVersion = '7.4'

/**
 * Azure Key Vault: `azkv://vault-name/secret?version=…`; a vault elsewhere by its whole host name. Which tenant and which resource a token
 * is for, the vault says itself in the challenge of its first answer.
 */
export function createKeyVaultDriver({ env, timeoutMs, now }: DriverOptions): SecretDriver {
  const caller = createCaller({ timeoutMs, env })
  const credentials = createAzureCredentials({ env, caller, now })
  const challenges = new Map<string, Challenge>()

  const toUrl = ({ name, options }: SecretReference): URL => {
    const [vault = '', secret = '', ...more] = name.split('/')
    if (!/^[A-Za-z0-9.:-]+$/.test(vault) || !/^[A-Za-z0-9-]+$/.test(secret) || more.length > 0)
      throw new ProviderFault('absent', 'its name is not "vault-name/secret"', 'Write azkv://vault-name/secret')
    const authority = URL.parse(env['AZURE_AUTHORITY_HOST'] ?? '')?.hostname ?? ''
    const host = /[.:]/.test(vault) ? vault : `${vault}.${vaultSuffixes[authority] ?? 'vault.azure.net'}`
    const version = options['version'] === undefined ? '' : `/${encodeURIComponent(options['version'])}`
    return new URL(`https://${host}/secrets/${secret}${version}?api-version=${apiVersion}`)
  }
  const get = async (url: URL, challenge: Challenge | undefined, signal: AbortSignal): Promise<Answer> => {
    const token = challenge && (await credentials.token(challenge.resource, challenge.tenant, signal))
    const headers = { accept: 'application/json', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) }
    return await caller.call({ url, headers, signal })
  }

  return {
    provider: 'Azure Key Vault',
    async read(reference, { signal }) {
      const url = toUrl(reference)
      let answer = await get(url, challenges.get(url.host), signal)
      if (answer.status === 401) {
        const challenge = parseChallenge(answer.headers['www-authenticate'], url)
        challenges.set(url.host, challenge)
        credentials.renew(challenge.resource)
        answer = await get(url, challenge, signal)
      }
      if (answer.status !== 200) throw toFault(answer)
      const json = parseJson(answer.body)
      const value = textAt(json, 'value')
      if (value === undefined)
        throw new ProviderFault(
          'unavailable',
          'its answer has no value',
          'Check what answers in the place of the vault',
        )
      return { value, version: textAt(json, 'id')?.split('/').at(-1) }
    },
    close: () => caller.close(),
  }
}

interface Challenge {
  readonly resource: string
  readonly tenant: string | undefined
}

/** `Bearer authorization="https://login.microsoftonline.com/TENANT", resource="https://vault.azure.net"` */
function parseChallenge(header: string | undefined, url: URL): Challenge {
  const values = Object.fromEntries(
    [...(header ?? '').matchAll(/(\w+)="([^"]*)"/g)].map(([, key, text]) => [key, text]),
  )
  const resource = values['resource'] ?? values['scope']?.replace(/\/\.default$/, '')
  const host = URL.parse(resource ?? '')?.hostname
  if (resource === undefined || host === undefined)
    throw new ProviderFault(
      'denied',
      'it answered 401 without a challenge that names a resource',
      'Is this a Key Vault?',
    )
  // A token for another resource would let who runs this vault act in our name there.
  if (url.hostname !== host && !url.hostname.endsWith(`.${host}`))
    throw new ProviderFault('denied', `it asks for a token of another resource, ${host}`, 'Check the name of the vault')
  return { resource, tenant: URL.parse(values['authorization'] ?? '')?.pathname.split('/')[1] }
}

function toFault(answer: Answer): ProviderFault {
  const json = parseJson(answer.body)
  const inner = json?.['error']
  const code = textAt(inner, 'innererror', 'code') ?? textAt(inner, 'code') ?? `status ${answer.status}`
  const message = quoteProvider(textAt(inner, 'message'), answer)
  const state = `${code}${message ? `: ${message}` : ''}`
  if (answer.status === 404 || code === 'SecretDisabled')
    return new ProviderFault('absent', state, 'Check vault, name and version, and that the secret is enabled')
  if (answer.status === 401 || answer.status === 403)
    return new ProviderFault('denied', state, 'Grant the role "Key Vault Secrets User" on this secret to this identity')
  return new ProviderFault('unavailable', state, 'Try again later; raise refreshMs where calls are throttled')
}
