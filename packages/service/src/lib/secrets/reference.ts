import { referenceInvalid } from './errors.ts'

export type SecretScheme = 'file' | 'env' | 'k8s' | 'aws-sm' | 'aws-ssm' | 'gcp-sm' | 'azkv' | 'vault'

/** Where a secret is: `scheme://name?option=value#field`. */
export interface SecretReference {
  readonly scheme: SecretScheme
  /** What stands between `//` and `?`, percent-decoded. */
  readonly name: string
  readonly options: Readonly<Record<string, string>>
  /** One entry of a secret that has several: a key of its JSON object, of a Kubernetes Secret, of a Vault path. */
  readonly field: string | undefined
  /** The reference as it was written. Names no secret value, so that errors, logs and metrics may show it. */
  readonly text: string
}

/** The options each scheme knows; another one is a typing error that would otherwise be silently without effect. */
const optionsOf: Readonly<Record<SecretScheme, readonly string[]>> = {
  file: ['raw'],
  env: [],
  k8s: ['mount'],
  'aws-sm': ['region', 'stage', 'versionId'],
  'aws-ssm': ['region', 'version', 'label'],
  'gcp-sm': ['location'],
  azkv: ['version'],
  vault: ['kv', 'version', 'namespace'],
}

const maxLength = 2048

/**
 * Reads a reference such as `aws-sm://orders/db?region=eu-west-1#password`.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_SECRET_REFERENCE`; the message does not repeat the text.
 */
export function parseSecretReference(text: string): SecretReference {
  const [, scheme = '', rest = ''] = /^([a-z][a-z0-9-]*):\/\/(.*)$/s.exec(text) ?? []
  if (!isScheme(scheme)) {
    const known = Object.keys(optionsOf).join(', ')
    throw referenceInvalid(scheme, scheme === '' ? `it has none, expected one of ${known}` : `expected one of ${known}`)
  }
  if (text.length > maxLength) throw referenceInvalid(scheme, `it has more than ${maxLength} characters`)
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u0020\u007f]/.test(text)) throw referenceInvalid(scheme, 'it has a space or control character')
  const [, name = '', query, fragment] = /^([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/.exec(rest) ?? []
  if (name.split('/', 1)[0]?.includes('@'))
    throw referenceInvalid(
      scheme,
      'it has "@" before the first "/", where credentials would stand; write %40 for a name',
    )
  if (name === '') throw referenceInvalid(scheme, 'the name after "://" is empty')
  if (fragment === '') throw referenceInvalid(scheme, 'the field after "#" is empty')
  const decode = (part: string): string => decodePart(scheme, part)
  const options: Record<string, string> = {}
  for (const pair of query?.split('&') ?? []) {
    const [key = '', ...value] = pair.split('=')
    if (!optionsOf[scheme].includes(key))
      throw referenceInvalid(scheme, `it has an unknown option, expected ${list(optionsOf[scheme])}`)
    if (value.join('=') === '') throw referenceInvalid(scheme, `option "${key}" is empty`)
    options[key] = decode(value.join('='))
  }
  return { scheme, name: decode(name), options, field: fragment === undefined ? undefined : decode(fragment), text }
}

/** Whether a text is meant as a reference to a secret: it begins with one of the schemes. */
export function isSecretReference(text: string): boolean {
  return isScheme(/^([a-z][a-z0-9-]*):\/\//.exec(text)?.[1] ?? '')
}

function isScheme(text: string): text is SecretScheme {
  return Object.hasOwn(optionsOf, text)
}

function decodePart(scheme: string, part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw referenceInvalid(scheme, 'a "%" is not followed by two hexadecimal digits, write %25 for the sign itself')
  }
}

function list(names: readonly string[]): string {
  return names.length === 0 ? 'none' : names.join(', ')
}
