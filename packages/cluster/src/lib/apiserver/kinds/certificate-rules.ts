import { X509Certificate } from 'node:crypto'

import type {
  CertificateSigningRequest,
  CertificateSigningRequestCondition as Condition,
} from '@fairlead/kube/types/certificates-v1'

import type { FieldError } from '../status.ts'
import { faultOfRequest } from './certificate-request.ts'
import { duplicate, forbidden, invalid, notSupported, required, tooLong } from './field-errors.ts'
import { dnsLabel, dnsSubdomain } from './names.ts'

const minimumSeconds = 600
const legacySigner = 'kubernetes.io/legacy-unknown'
const longestDomain = 253
const longestSigner = longestDomain + 1 + 253 + 63 + 1
const knownUsages =
  'any, cert sign, client auth, code signing, content commitment, crl sign, data encipherment, decipher only, digital signature, email protection, encipher only, ipsec end system, ipsec tunnel, ipsec user, key agreement, key encipherment, microsoft sgc, netscape sgc, ocsp signing, s/mime, server auth, signing, timestamping'.split(
    ', ',
  )

type Request = CertificateSigningRequest
type Spec = Request['spec']
type Part = 'object' | 'status'

/** What is wrong with a request for a certificate; its spec is judged once, as it never changes. */
export function validateRequest(object: Request, old: Request | undefined, part: Part = 'object'): FieldError[] {
  const { spec, status } = object
  return [
    ...(old === undefined ? validateSpec(spec) : []),
    ...validateConditions(status?.conditions ?? [], old?.status?.conditions ?? []),
    ...validateCertificate(status?.certificate ?? '', old?.status?.certificate ?? ''),
    ...(part === 'status' ? validateDecisions(object, old) : []),
  ]
}

function validateSpec({ request = '', signerName = '', usages = [], expirationSeconds }: Partial<Spec>): FieldError[] {
  const fault = faultOfRequest(request)
  return [
    ...(fault === undefined ? [] : [invalid('spec.request', request, fault)]),
    ...validateUsages(usages),
    ...(signerName === legacySigner
      ? [invalid('spec.signerName', signerName, 'the legacy signerName is not allowed via this API version')]
      : validateSigner(signerName)),
    ...(expirationSeconds === undefined || expirationSeconds >= minimumSeconds
      ? []
      : [invalid('spec.expirationSeconds', expirationSeconds, tooShort)]),
  ]
}

const tooShort = `may not specify a duration less than ${minimumSeconds} seconds (10 minutes)`

function validateUsages(usages: readonly string[]): FieldError[] {
  if (usages.length === 0) return [required('spec.usages')]
  return usages.flatMap((usage, index) => {
    const field = `spec.usages[${index}]`
    return [
      ...(knownUsages.includes(usage) ? [] : [notSupported(field, usage, knownUsages)]),
      ...(usages.indexOf(usage) < index ? [duplicate(field, usage)] : []),
    ]
  })
}

/** `example.com/name`: who is asked to sign. */
function validateSigner(signer: string): FieldError[] {
  const field = 'spec.signerName'
  if (signer === '') return [required(field)]
  const [domain = '', path, ...more] = signer.split('/')
  if (path === undefined || more.length > 0) {
    return [invalid(field, signer, "must be a fully qualified domain and path of the form 'example.com/signer-name'")]
  }
  const labels = domain.split('.')
  return [
    ...(domain.length > longestDomain ? [tooLong(field, longestDomain)] : []),
    ...faultsOfPart(field, domain, (label) => dnsLabel(field, label)),
    ...(labels.length < 2
      ? [invalid(field, domain, 'should be a domain with at least two segments separated by dots')]
      : []),
    ...faultsOfPart(field, path, (label) => dnsSubdomain(field, label)),
    ...(signer.length > longestSigner ? [tooLong(field, longestSigner)] : []),
  ]
}

/** Only the first label that is wrong is told. */
function faultsOfPart(field: string, part: string, judge: (label: string) => FieldError[]): FieldError[] {
  for (const label of part.split('.')) {
    const faults = judge(label)
    if (faults.length === 0) continue
    const shown = JSON.stringify(label)
    const prefix = `Invalid value: ${shown}: `
    return faults.map(({ message }) =>
      invalid(field, part, `validating label ${shown}: ${message.slice(prefix.length)}`),
    )
  }
  return []
}

const decisions = ['Approved', 'Denied']
const onlyTrue = [...decisions, 'Failed']
const bothDecided = 'Approved and Denied conditions are mutually exclusive'

function validateConditions(conditions: readonly Condition[], old: readonly Condition[]): FieldError[] {
  const field = 'status.conditions'
  const wereRepeated = isRepeated(old)
  const wereBoth = isBoth(old)
  const errors = conditions.flatMap(({ type, status }, index) => {
    const before = conditions.slice(0, index).map((each) => each.type)
    const allowed = onlyTrue.includes(type) ? ['True'] : ['True', 'False', 'Unknown']
    const other = decisions.find((each) => each !== type) ?? ''
    return [
      ...(type === '' && !old.some((each) => each.type === '') ? [required(`${field}[${index}].type`)] : []),
      ...validateStatusText(`${field}[${index}].status`, status, allowed),
      ...(!wereBoth && decisions.includes(type) && before.includes(other) ? [invalid(field, type, bothDecided)] : []),
      ...(!wereRepeated && before.includes(type) ? [duplicate(`${field}[${index}].type`, type)] : []),
    ]
  })
  for (const type of onlyTrue) {
    if (count(conditions, type) < count(old, type)) {
      errors.push(forbidden(field, `updates may not remove a condition of type "${type}"`))
    }
  }
  return errors
}

function validateStatusText(field: string, status: string, allowed: readonly string[]): FieldError[] {
  if ((status ?? '') === '') return [required(field)]
  return allowed.includes(status) ? [] : [notSupported(field, status, allowed)]
}

/** Who approves and denies writes to a subresource of its own; changes of decisions are undone before this. */
function validateDecisions({ status }: Request, old: Request | undefined): FieldError[] {
  const isAdded = (type: string): boolean =>
    count(status?.conditions ?? [], type) > count(old?.status?.conditions ?? [], type)
  return decisions
    .filter(isAdded)
    .map((type) => forbidden('status.conditions', `updates may not add a condition of type "${type}"`))
}

function validateCertificate(certificate: string, old: string): FieldError[] {
  if (certificate === old) return []
  const field = 'status.certificate'
  const fault = faultOfCertificate(certificate)
  return [
    ...(fault === undefined || faultOfCertificate(old) !== undefined
      ? []
      : [invalid(field, '<certificate data>', fault)]),
    ...(old === '' ? [] : [forbidden(field, 'updates may not modify existing certificate content')]),
  ]
}

function faultOfCertificate(certificate: string): string | undefined {
  if (certificate === '') return undefined
  const pem = Buffer.from(certificate, 'base64').toString('latin1')
  const blocks = [...pem.matchAll(/-----BEGIN ([^-\n]*)-----([\s\S]+?)-----END \1-----/g)]
  if (blocks.length === 0) return 'must contain at least one CERTIFICATE PEM block'
  for (const [, label, body = ''] of blocks) {
    if (label !== 'CERTIFICATE') return `only CERTIFICATE PEM blocks are allowed, found ${JSON.stringify(label)}`
    if (body.includes(':')) return 'no PEM block headers are permitted'
    if (!isCertificate(Buffer.from(body, 'base64'))) return 'x509: malformed certificate'
  }
  return undefined
}

function isCertificate(der: Buffer): boolean {
  try {
    return new X509Certificate(der).serialNumber !== ''
  } catch {
    return false
  }
}

function count(conditions: readonly Condition[], type: string): number {
  return conditions.filter((each) => each.type === type).length
}

function isRepeated(conditions: readonly Condition[]): boolean {
  return new Set(conditions.map(({ type }) => type)).size < conditions.length
}

function isBoth(conditions: readonly Condition[]): boolean {
  return decisions.every((type) => count(conditions, type) > 0)
}
