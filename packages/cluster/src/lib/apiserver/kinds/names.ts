import { invalid, required, tooLong as tooLongName } from './field-errors.ts'
import type { FieldError } from '../status.ts'

const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const label1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/
const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const qualified = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/
const valuePattern = /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/
const portName = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const configKey = /^[-._a-zA-Z0-9]+$/
const envName = /^[ -<>-~]+$/

/** What is wrong with a DNS label (RFC 1123), in upstream's words. */
export function dnsLabel(field: string, value: string): FieldError[] {
  if (value.length <= 63 && label.test(value)) return []
  const errors = tooLong(field, value, 63)
  if (label.test(value)) return errors
  if (subdomain.test(value)) return [...errors, invalid(field, value, 'must not contain dots')]
  const why =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
  return [...errors, invalid(field, value, why)]
}

/** The older label rule (RFC 1035) services follow: it must begin with a letter. */
export function dnsLabel1035(field: string, value: string): FieldError[] {
  return [
    ...tooLong(field, value, 63),
    ...unless(
      label1035.test(value),
      field,
      value,
      "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
    ),
  ]
}

export function dnsSubdomain(field: string, value: string): FieldError[] {
  if (value.length <= 253 && subdomain.test(value)) return []
  return subdomainFaults(value, 'characters').map((why) => invalid(field, value, why))
}

const underscoredLabel = '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?'
const underscoredPattern = `${underscoredLabel}(\\.${underscoredLabel})*`
const underscored = new RegExp(`^${underscoredPattern}$`)

/** A subdomain as search paths may be: with underscores, which names of hosts do not have. */
export function dnsSubdomainWithUnderscore(field: string, value: string): FieldError[] {
  return [
    ...tooLong(field, value, 253),
    ...unless(
      underscored.test(value),
      field,
      value,
      `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '${underscoredPattern}')`,
    ),
  ]
}

const wildcard = /^\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/

/** `*.example.com`. */
export function wildcardSubdomain(field: string, value: string): FieldError[] {
  return [
    ...tooLong(field, value, 253),
    ...unless(
      wildcard.test(value),
      field,
      value,
      `a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '${wildcard.source.slice(1, -1)}')`,
    ),
  ]
}

/** Upstream counts in bytes where it speaks of labels, and in characters elsewhere. */
function subdomainFaults(value: string, unit: 'bytes' | 'characters'): string[] {
  return [
    ...(value.length > 253 ? [`must be no more than 253 ${unit}`] : []),
    ...(subdomain.test(value)
      ? []
      : [
          "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ]),
  ]
}

/** Names of container and service ports: at most 15 characters with a letter among them. */
export function ianaServiceName(field: string, value: string): FieldError[] {
  if (value.length > 15) return [invalid(field, value, 'must be no more than 15 characters')]
  if (!portName.test(value)) {
    return [invalid(field, value, 'must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)')]
  }
  if (!/[a-z]/.test(value)) return [invalid(field, value, 'must contain at least one letter (a-z)')]
  return value.includes('--') ? [invalid(field, value, 'must not contain consecutive hyphens')] : []
}

export function portNumber(field: string, value: number): FieldError[] {
  return unless(value >= 1 && value <= 65535, field, value, 'must be between 1 and 65535, inclusive')
}

/** A port by number or by name. */
export function portReference(field: string, value: number | string): FieldError[] {
  return typeof value === 'number' ? portNumber(field, value) : ianaServiceName(field, value)
}

export function configMapKey(field: string, value: string): FieldError[] {
  if (value.length > 253) return [invalid(field, value, 'must be no more than 253 characters')]
  if (value === '.' || value === '..') return [invalid(field, value, `must not be '${value}'`)]
  if (value.startsWith('..')) return [invalid(field, value, "must not start with '..'")]
  return unless(
    configKey.test(value),
    field,
    value,
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
  )
}

export function environmentName(field: string, value: string): FieldError[] {
  if (value === '') return [required(field)]
  return unless(
    envName.test(value),
    field,
    value,
    "a valid environment variable name must consist only of printable ASCII characters other than '='",
  )
}

export function labels(field: string, values: Readonly<Record<string, string>> | undefined): FieldError[] {
  return Object.entries(values ?? {}).flatMap(([key, value]) => [...labelKey(field, key), ...labelValue(field, value)])
}

/** Case does not matter in keys of annotations, but is told. */
export function annotationKeys(field: string, annotations: Readonly<Record<string, string>> | undefined): FieldError[] {
  return Object.keys(annotations ?? {}).flatMap((key) => {
    const lower = key.toLowerCase()
    const shown = (text: string): string => text.replace(JSON.stringify(lower), () => JSON.stringify(key))
    return labelKey(field, lower).map((error) => ({ ...error, message: shown(error.message) }))
  })
}

export function labelValue(field: string, value: string): FieldError[] {
  return [
    ...unless(value.length <= 63, field, value, 'must be no more than 63 bytes'),
    ...unless(
      valuePattern.test(value),
      field,
      value,
      "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    ),
  ]
}

/** A name, with a subdomain before it or not; every fault of one key is told in one finding, as upstream does. */
export function labelKey(field: string, key: string): FieldError[] {
  if (isLabelKey(key)) return []
  const faults = keyFaults(key)
  return faults.length === 0 ? [] : [invalid(field, key, faults.join('; '))]
}

/** The same rule for names that are no labels; every fault is a finding of its own. */
export function qualifiedName(field: string, name: string): FieldError[] {
  return keyFaults(name).map((fault) => invalid(field, name, fault))
}

/** A domain and a path below it, such as `example.com/controller`. */
export function domainPath(field: string, value: string): FieldError[] {
  if (value === '') return [required(field)]
  const [domain = '', ...rest] = value.split('/')
  const path = rest.join('/')
  if (domain === '' || path === '') {
    return [invalid(field, value, 'must be a domain-prefixed path (such as "acme.io/foo")')]
  }
  const faults = dnsSubdomain(field, domain)
  if (urlPath.test(path)) return faults
  const why = `Invalid path (regex used for validation is '${urlPath.source.slice(1, -1).replaceAll('\\/', '/')}')`
  return [...faults, invalid(field, path, why)]
}

const urlPath = /^[A-Za-z0-9/\-._~%!$&'()*+,;=:]+$/

/** What can stand in the path of a URL. */
export function pathSegment(field: string, name: string): FieldError[] {
  if (name === '.' || name === '..') return [invalid(field, name, `may not be '${name}'`)]
  return ['/', '%'].flatMap((sign) => (name.includes(sign) ? [invalid(field, name, `may not contain '${sign}'`)] : []))
}

/** At most 63 characters, in any case, of the form of a domain. */
export function csiDriverName(field: string, name: string): FieldError[] {
  if (name === '') return [required(field)]
  const faults = subdomainFaults(name.toLowerCase(), 'characters').map((why) => invalid(field, name, why))
  return name.length > 63 ? [tooLongName(field, 63), ...faults] : faults
}

const keyRule =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"

function isLabelKey(key: string): boolean {
  const at = key.indexOf('/')
  // A second slash is in no name.
  const name = key.slice(at + 1)
  if (name.length > 63 || !qualified.test(name)) return false
  return at < 0 || (at <= 253 && subdomain.test(key.slice(0, at)))
}

function keyFaults(key: string): string[] {
  const [name = '', prefix, ...more] = key.split('/').toReversed()
  if (more.length > 0) {
    return [`a valid label key ${keyRule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`]
  }
  const faults: string[] = []
  if (prefix === '') faults.push('prefix part must be non-empty')
  else if (prefix !== undefined) {
    faults.push(...subdomainFaults(prefix, 'bytes').map((fault) => `prefix part ${fault}`))
  }
  if (name === '') faults.push('name part must be non-empty')
  else if (name.length > 63) faults.push('name part must be no more than 63 bytes')
  if (!qualified.test(name)) faults.push(`name part ${keyRule}`)
  return faults
}

function tooLong(field: string, value: string, longest: number): FieldError[] {
  return value.length > longest ? [invalid(field, value, `must be no more than ${longest} characters`)] : []
}

function unless(isGood: boolean, field: string, value: unknown, why: string): FieldError[] {
  return isGood ? [] : [invalid(field, value, why)]
}
