import type { Lease, LeaseSpec } from '../types/generated/coordination-v1.ts'

/** What a candidate saw of a lease, and when by its own clock: nobody's clock has to agree with another's. */
export interface ObservedLease {
  readonly lease: Lease
  readonly at: number
}

/** What a candidate may do now. */
export type LeaseStep = 'create' | 'renew' | 'take' | 'wait'

/** Decides by what was seen last: a lease is over when its holder did not renew it for its whole duration. */
export function decideLease(observed: ObservedLease | undefined, identity: string, now: number): LeaseStep {
  if (observed === undefined) {
    return 'create'
  }
  const { holderIdentity = '', leaseDurationSeconds = 0 } = observed.lease.spec ?? {}
  if (holderIdentity === identity) {
    return 'renew'
  }
  return holderIdentity === '' || observed.at + leaseDurationSeconds * 1000 <= now ? 'take' : 'wait'
}

/** What is known after a lease was read: one that did not change was seen when it was seen first. */
export function observeLease(before: ObservedLease | undefined, lease: Lease, now: number): ObservedLease {
  const [old, spec] = [before?.lease.spec, lease.spec]
  const isSame =
    before !== undefined && old?.holderIdentity === spec?.holderIdentity && old?.renewTime === spec?.renewTime
  return { lease, at: isSame ? before.at : now }
}

/** The specification with which `identity` holds a lease from now on. */
export function renderLease(spec: LeaseSpec | undefined, identity: string, durationMs: number, now: number): LeaseSpec {
  const isHolder = spec?.holderIdentity === identity
  const time = renderMicroTime(now)
  return {
    ...spec,
    holderIdentity: identity,
    leaseDurationSeconds: Math.max(1, Math.round(durationMs / 1000)),
    acquireTime: isHolder ? (spec?.acquireTime ?? time) : time,
    renewTime: time,
    leaseTransitions: spec === undefined ? 0 : (spec.leaseTransitions ?? 0) + (isHolder ? 0 : 1),
  }
}

/** The specification that lets the next candidate in at once. */
export function releaseLease(spec: LeaseSpec | undefined, now: number): LeaseSpec {
  const time = renderMicroTime(now)
  return { ...spec, holderIdentity: '', leaseDurationSeconds: 1, acquireTime: time, renewTime: time }
}

/** `metav1.MicroTime`. */
function renderMicroTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, -1)}000Z`
}
