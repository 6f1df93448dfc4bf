import type { CertificateSigningRequest } from '@fairlead/kube/types/certificates-v1'

import type { KindStrategy } from '../strategy.ts'
import { defineKind } from './define.ts'
import { invalid, required } from './field-errors.ts'
import { age, ageColumn, column, duration, nameColumn } from './printing.ts'
import type { FieldError } from '../status.ts'

const minimumSeconds = 600

/** A wish for a certificate: what is asked for never changes, who asks is filled in by the server. */
export const certificateSigningRequest: KindStrategy = defineKind<CertificateSigningRequest>({
  update: (object, old) => {
    object.spec = old.spec
  },
  updateStatus: (object, old) => {
    // Approval has its own subresource; a certificate, once there, stays.
    const decided = old.status?.conditions?.filter(isDecision) ?? []
    const others = object.status?.conditions?.filter((condition) => !isDecision(condition)) ?? []
    const conditions = [...decided, ...others]
    object.status = { ...object.status, ...(conditions.length === 0 ? {} : { conditions }) }
    if (old.status?.certificate !== undefined) object.status.certificate = old.status.certificate
  },
  validate: ({ spec, status }) => [...validateSpec(spec ?? {}), ...validateDecision(status?.conditions ?? [])],
  fields: ({ spec }) => ({ 'spec.signerName': spec?.signerName ?? '' }),
  columns: [
    nameColumn,
    ageColumn,
    column('SignerName'),
    column('Requestor'),
    column('RequestedDuration'),
    column('Condition'),
  ],
  row: ({ metadata, spec, status }, now) => [
    metadata.name,
    age(metadata.creationTimestamp, now),
    spec?.signerName ?? '',
    spec?.username ?? '',
    spec?.expirationSeconds === undefined ? '<none>' : duration(spec.expirationSeconds * 1000),
    describe(status),
  ],
})

type Condition = NonNullable<NonNullable<CertificateSigningRequest['status']>['conditions']>[number]

function isDecision({ type }: Condition): boolean {
  return type === 'Approved' || type === 'Denied'
}

function validateSpec({
  request = '',
  signerName = '',
  usages = [],
  expirationSeconds,
}: Partial<CertificateSigningRequest['spec']>): FieldError[] {
  const errors: FieldError[] = []
  const pem = Buffer.from(request, 'base64').toString('latin1')
  if (!/-----BEGIN CERTIFICATE REQUEST-----[\s\S]+-----END CERTIFICATE REQUEST-----/.test(pem)) {
    errors.push(invalid('spec.request', request, 'PEM block type must be CERTIFICATE REQUEST'))
  }
  if (usages.length === 0) errors.push(required('spec.usages'))
  if (signerName === '') errors.push(required('spec.signerName'))
  else if (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/.+$/.test(signerName)) {
    const why = 'must be a fully qualified domain and path of the form "example.com/signer-name"'
    errors.push(invalid('spec.signerName', signerName, why))
  }
  if (expirationSeconds !== undefined && expirationSeconds < minimumSeconds) {
    errors.push(
      invalid(
        'spec.expirationSeconds',
        expirationSeconds,
        'may not specify a duration less than 600 seconds (10 minutes)',
      ),
    )
  }
  return errors
}

function validateDecision(conditions: readonly Condition[]): FieldError[] {
  const decided = conditions.filter(isDecision)
  const errors = decided.flatMap(({ type, status }, index) =>
    status === 'True' ? [] : [invalid(`status.conditions[${index}].status`, status, `must be True for ${type}`)],
  )
  if (new Set(decided.map(({ type }) => type)).size > 1) {
    errors.push(invalid('status.conditions', 'Denied', 'Approved and Denied conditions are mutually exclusive'))
  }
  return errors
}

function describe(status: CertificateSigningRequest['status']): string {
  const types = status?.conditions?.map(({ type }) => type) ?? []
  const decision = ['Approved', 'Denied'].find((type) => types.includes(type)) ?? 'Pending'
  const parts = types.includes('Failed') ? [decision, 'Failed'] : [decision]
  return [...parts, ...((status?.certificate ?? '') === '' ? [] : ['Issued'])].join(',')
}
