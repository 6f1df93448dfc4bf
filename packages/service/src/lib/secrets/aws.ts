import { createAwsCredentials, findAwsEndpoint, readInstanceRegion, readProfileRegion } from './aws-credentials.ts'
import { createCaller } from './call.ts'
import type { Answer } from './call.ts'
import type { DriverOptions, ReadOptions, SecretDriver, SecretReading } from './driver.ts'
import { ProviderFault, quoteProvider } from './fault.ts'
import { isRecord, parseJson, textAt } from './json.ts'
import type { SecretReference } from './reference.ts'
import { signPost } from './sigv4.ts'

/** AWS Secrets Manager: `aws-sm://orders/db?region=eu-west-1&stage=AWSCURRENT#password`, or an ARN as the name. */
export function createSecretsManagerDriver(options: DriverOptions): SecretDriver {
  return createAwsDriver(options, {
    provider: 'AWS Secrets Manager',
    service: 'secretsmanager',
    target: 'secretsmanager.GetSecretValue',
    permission: 'secretsmanager:GetSecretValue (and kms:Decrypt for a key of your own)',
    toRequest: ({ name, options: { stage, versionId } }) => ({
      SecretId: name,
      VersionId: versionId,
      VersionStage: stage,
    }),
    toReading(answer) {
      const binary = textAt(answer, 'SecretBinary')
      const value = textAt(answer, 'SecretString') ?? (binary === undefined ? undefined : Buffer.from(binary, 'base64'))
      return value === undefined ? undefined : { value, version: textAt(answer, 'VersionId') }
    },
  })
}

/** AWS Systems Manager Parameter Store: `aws-ssm:///orders/db/password?version=3`; encrypted parameters are decrypted. */
export function createParameterStoreDriver(options: DriverOptions): SecretDriver {
  return createAwsDriver(options, {
    provider: 'AWS Parameter Store',
    service: 'ssm',
    target: 'AmazonSSM.GetParameter',
    permission: 'ssm:GetParameter (and kms:Decrypt for a SecureString)',
    toRequest({ name, options: { version, label } }) {
      // Names with levels begin with a slash; `aws-ssm://orders/db` and `aws-ssm:///orders/db` mean the same parameter.
      const path = name.includes('/') && !name.startsWith('/') && !name.startsWith('arn:') ? `/${name}` : name
      const selector = version ?? label
      return { Name: selector === undefined ? path : `${path}:${selector}`, WithDecryption: true }
    },
    toReading(answer) {
      const value = textAt(answer, 'Parameter', 'Value')
      const parameter = answer['Parameter']
      const version = isRecord(parameter) ? parameter['Version'] : undefined
      return value === undefined
        ? undefined
        : { value, version: typeof version === 'number' ? String(version) : undefined }
    },
  })
}

interface AwsService {
  readonly provider: string
  readonly service: 'secretsmanager' | 'ssm'
  readonly target: string
  readonly permission: string
  toRequest(reference: SecretReference): Readonly<Record<string, unknown>>
  toReading(answer: Readonly<Record<string, unknown>>): SecretReading | undefined
}

function createAwsDriver({ env, timeoutMs, now }: DriverOptions, service: AwsService): SecretDriver {
  const caller = createCaller({ timeoutMs, env })
  const access = { env, caller, now }
  const credentials = createAwsCredentials(access)
  let instanceRegion: string | undefined

  const findRegion = async ({ name, options }: SecretReference, signal: AbortSignal): Promise<string> => {
    const ofArn = name.startsWith('arn:') ? name.split(':')[3] : undefined
    const known = options['region'] || ofArn || env['AWS_REGION'] || env['AWS_DEFAULT_REGION']
    const region =
      known || (await readProfileRegion(env)) || (instanceRegion ??= await readInstanceRegion(access, signal))
    if (region && /^[a-z0-9-]+$/.test(region)) return region
    throw new ProviderFault(
      'denied',
      region ? 'its region has characters other than letters, digits and dashes' : 'there is no region',
      'Set AWS_REGION, or add ?region=eu-west-1 to the reference',
    )
  }
  const post = async (reference: SecretReference, signal: AbortSignal): Promise<Answer> => {
    const region = await findRegion(reference, signal)
    const url = findAwsEndpoint(env, service.service, region)
    const keys = await credentials.get(region, signal)
    const body = JSON.stringify(service.toRequest(reference))
    const headers = { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': service.target }
    const scope = { service: service.service, region, now: now() }
    return await caller.call({ method: 'POST', url, headers: signPost(url, headers, body, keys, scope), body, signal })
  }

  return {
    provider: service.provider,
    async read(reference: SecretReference, { signal }: ReadOptions) {
      let answer = await post(reference, signal)
      // Keys that were revoked or rotated before their time: fetched again, once.
      if (answer.status !== 200 && /ExpiredToken|UnrecognizedClient|InvalidClientTokenId/.test(typeOf(answer))) {
        credentials.renew()
        answer = await post(reference, signal)
      }
      if (answer.status !== 200) throw toFault(answer, service)
      const reading = service.toReading(parseJson(answer.body) ?? {})
      if (reading) return reading
      throw new ProviderFault('unavailable', 'its answer has no value', `Check what answers as ${service.provider}`)
    },
    close: () => caller.close(),
  }
}

function typeOf(answer: Answer): string {
  const type = textAt(parseJson(answer.body), '__type') ?? ''
  return /([A-Za-z]+)$/.exec(type)?.[1] ?? ''
}

/** These repeat names of the caller and of the secret. The text of others is not told: a wrong signature repeats the whole request. */
const tellable = /AccessDenied|NotFound|Validation|InvalidRequest|InvalidParameter|Decryption|InvalidKey|Throttling/

function toFault(answer: Answer, { permission }: AwsService): ProviderFault {
  const type = typeOf(answer)
  const json = parseJson(answer.body)
  const message = tellable.test(type) ? quoteProvider(textAt(json, 'message') ?? textAt(json, 'Message'), answer) : ''
  const state = `${type || `status ${answer.status}`}${message ? `: ${message}` : ''}`
  if (/NotFound$|NotFoundException$|ParameterVersionNotFound/.test(type))
    return new ProviderFault('absent', state, 'Check name, region and version stage of the reference')
  // A secret that is marked for deletion.
  if (type === 'InvalidRequestException')
    return new ProviderFault('absent', state, 'Restore the secret, or name another one')
  if (answer.status >= 500 || answer.status === 429 || /Throttling|TooManyRequests|InternalServiceError/.test(type))
    return new ProviderFault('unavailable', state, 'Try again later; raise refreshMs where calls are throttled')
  if (type === 'SignatureDoesNotMatch' || type === 'InvalidSignatureException')
    return new ProviderFault('denied', state, 'Check the secret access key and the clock of this machine')
  return new ProviderFault('denied', state, `Allow ${permission} on this secret to the role of this process`)
}
