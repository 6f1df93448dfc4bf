import { createCaller } from './call.ts'
import type { Answer, Caller } from './call.ts'
import type { DriverOptions, SecretDriver } from './driver.ts'
import { ProviderFault, quoteProvider } from './fault.ts'
import { createGoogleCredentials } from './gcp-credentials.ts'
import { parseJson, textAt } from './json.ts'
import type { SecretReference } from './reference.ts'

/** Google Secret Manager: `gcp-sm://project/name@version`; without version the latest, without project the one this runs in. */
export function createGoogleDriver({ env, timeoutMs, now }: DriverOptions): SecretDriver {
  const caller: Caller = createCaller({ timeoutMs, env })
  const credentials = createGoogleCredentials({ env, caller, now })

  const toUrl = async ({ name, options }: SecretReference, signal: AbortSignal): Promise<URL> => {
    const [, project, secret = '', version = 'latest'] = /^(?:([^/]+)\/)?([^/@]+)(?:@([^/@]+))?$/.exec(name) ?? []
    if (secret === '')
      throw new ProviderFault('absent', 'its name is not "project/name@version"', 'Write gcp-sm://project/name@version')
    const location = options['location']
    const universe = await credentials.universe()
    const endpoint =
      env['CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER'] ||
      `https://secretmanager.${location === undefined ? '' : `${encodeURIComponent(location)}.rep.`}${universe}`
    const path = [
      'projects',
      project ?? (await credentials.project(signal)),
      ...(location === undefined ? [] : ['locations', location]),
      'secrets',
      secret,
      'versions',
      version,
    ]
    return new URL(`/v1/${path.map(encodeURIComponent).join('/')}:access`, endpoint)
  }

  return {
    provider: 'Google Secret Manager',
    async read(reference, { signal }) {
      const url = await toUrl(reference, signal)
      const get = async (): Promise<Answer> => {
        const headers = { authorization: `Bearer ${await credentials.token(signal)}`, accept: 'application/json' }
        return await caller.call({ url, headers, signal })
      }
      let answer = await get()
      if (answer.status === 401) {
        credentials.renew()
        answer = await get()
      }
      if (answer.status !== 200) throw toFault(answer)
      const json = parseJson(answer.body)
      const data = textAt(json, 'payload', 'data')
      if (data === undefined)
        throw new ProviderFault('unavailable', 'its answer has no payload', 'Check what answers in the place of Google')
      const value = Buffer.from(data, 'base64')
      const checksum = textAt(json, 'payload', 'dataCrc32c')
      if (checksum !== undefined && BigInt(checksum) !== BigInt(crc32c(value)))
        throw new ProviderFault(
          'unavailable',
          'the payload does not have its checksum',
          'Try again; it was damaged on its way',
        )
      return { value, version: textAt(json, 'name')?.split('/').at(-1) }
    },
    close: () => caller.close(),
  }
}

function toFault(answer: Answer): ProviderFault {
  const json = parseJson(answer.body)
  const status = textAt(json, 'error', 'status') ?? `status ${answer.status}`
  const message = quoteProvider(textAt(json, 'error', 'message'), answer)
  const state = `${status}${message ? `: ${message}` : ''}`
  if (answer.status === 404)
    return new ProviderFault('absent', state, 'Check project, name and version of the reference')
  // A version that is disabled or destroyed.
  if (answer.status === 400) return new ProviderFault('absent', state, 'Enable this version, or name another one')
  if (answer.status === 401 || answer.status === 403)
    return new ProviderFault(
      'denied',
      state,
      'Grant roles/secretmanager.secretAccessor on this secret to this identity',
    )
  return new ProviderFault('unavailable', state, 'Try again later; raise refreshMs where calls are throttled')
}

/** CRC-32C (Castagnoli), which Google sends beside each payload. */
export function crc32c(data: Uint8Array): number {
  let crc = 0xff_ff_ff_ff
  for (const byte of data) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0x82_f6_3b_78 : 0)
  }
  return (crc ^ 0xff_ff_ff_ff) >>> 0
}
