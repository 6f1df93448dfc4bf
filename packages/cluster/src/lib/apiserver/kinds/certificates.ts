import type {
  CertificateSigningRequest,
  CertificateSigningRequestCondition as Condition,
} from '@fairlead/kube/types/certificates-v1'

import type { KindStrategy } from '../strategy.ts'
import { validateRequest } from './certificate-rules.ts'
import { defineKind } from './define.ts'
import { age, ageColumn, column, duration, nameColumn } from './printing.ts'

/** A wish for a certificate: what is asked for never changes, who asks is filled in by the server. */
export const certificateSigningRequest: KindStrategy = defineKind<CertificateSigningRequest>({
  update: (object, old) => {
    object.spec = old.spec
  },
  updateStatus: ({ status }, old) => {
    if (status?.conditions === undefined) return
    const before = old.status?.conditions ?? []
    keepDecisions(status.conditions, before)
    status.conditions = stampConditions(status.conditions, before)
  },
  validate: (object, old) => validateRequest(object, old),
  validateStatus: (object, old) => validateRequest(object, old, 'status'),
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

/** The decisions as they were, where none came and none went: anything else is a finding of validation. */
function keepDecisions(conditions: Condition[], old: readonly Condition[]): void {
  for (const type of ['Approved', 'Denied']) {
    const before = old.filter((condition) => condition.type === type)
    const places = conditions.flatMap((condition, index) => (condition.type === type ? [index] : []))
    if (before.length !== places.length) continue
    places.forEach((place, index) => {
      const kept = before[index]
      if (kept !== undefined) conditions[place] = kept
    })
  }
}

/** Fills in when conditions were written, and since when they are so. */
export function stampConditions(
  conditions: readonly Condition[],
  old: readonly Condition[],
  now: string = new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
): Condition[] {
  return conditions.map((condition) => {
    const { type, status, lastUpdateTime = now, lastTransitionTime } = condition
    const same = old.find((each) => each.type === type && each.status === status && each.lastTransitionTime)
    return {
      ...condition,
      lastUpdateTime,
      lastTransitionTime: lastTransitionTime ?? same?.lastTransitionTime ?? now,
    }
  })
}

function describe(status: CertificateSigningRequest['status']): string {
  const types = status?.conditions?.map(({ type }) => type) ?? []
  const decision = ['Approved', 'Denied'].find((type) => types.includes(type)) ?? 'Pending'
  const parts = types.includes('Failed') ? [decision, 'Failed'] : [decision]
  return [...parts, ...((status?.certificate ?? '') === '' ? [] : ['Issued'])].join(',')
}
