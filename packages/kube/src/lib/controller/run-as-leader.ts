import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'

import type { KubeClient } from '../client/client.ts'
import { isAlreadyExists, isConflict, isNotFound } from '../client/kube-error.ts'
import type { ResourceClient } from '../client/resource.ts'
import type { Lease } from '../types/generated/coordination-v1.ts'
import { jitter } from './backoff.ts'
import { pause, systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { decideLease, observeLease, releaseLease, renderLease } from './lease.ts'
import type { ObservedLease } from './lease.ts'

export interface LeaderOptions {
  /** Name of the Lease all candidates share. */
  readonly name: string
  /** Default: the client's. */
  readonly namespace?: string | undefined
  /** Who we are; no two candidates may be the same. Default: host name and a random part. */
  readonly identity?: string | undefined
  /** How long others wait for a leader that is not heard of. Default 15,000. */
  readonly leaseDurationMs?: number | undefined
  /** How long a leader tries to renew before it steps down; less than the lease. Default 10,000. */
  readonly renewDeadlineMs?: number | undefined
  /** Time between attempts. Default 2,000. */
  readonly retryMs?: number | undefined
  /** Told of attempts that failed. Default: nobody. */
  readonly onError?: ((error: unknown) => void) | undefined
  readonly signal: AbortSignal
  readonly clock?: Clock | undefined
}

/**
 * Runs `lead` while this process holds the Lease: at most one of all candidates does (by client-go's protocol, so both may take
 * part). Its signal aborts when the lease is lost, well before another may take it; `lead` must have ended its work when it
 * resolves. Then this candidate waits again, until `signal` aborts or `lead` ends by itself; it gives the lease back.
 */
export async function runAsLeader(
  client: KubeClient,
  options: LeaderOptions,
  lead: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const { signal, clock = systemClock, retryMs = 2000 } = options
  const candidate = createCandidate(client.resource('coordination.k8s.io/v1/Lease'), client.namespace, options)
  while (!signal.aborted) {
    if (!(await candidate.attempt())) {
      await pause(clock, jitter(retryMs), signal)
      continue
    }
    const [term, office] = [new AbortController(), new AbortController()]
    const stop = (): void => term.abort(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
    // Until the work has ended, also after `signal`: nobody else may begin before.
    const renewing = renew(candidate, options, term, office.signal)
    try {
      if (signal.aborted) stop()
      await lead(term.signal)
      if (!term.signal.aborted) return
    } finally {
      signal.removeEventListener('abort', stop)
      term.abort()
      office.abort()
      await renewing
      await candidate.release()
    }
  }
}

/** Renews for as long as the office is held, and ends the term when that was not possible for too long. */
async function renew(
  candidate: Candidate,
  options: LeaderOptions,
  term: AbortController,
  office: AbortSignal,
): Promise<void> {
  const { clock = systemClock, retryMs = 2000, renewDeadlineMs = 10_000 } = options
  let cancel = clock.schedule(renewDeadlineMs, () => term.abort())
  for (;;) {
    await pause(clock, retryMs, office)
    if (office.aborted) break
    if (await candidate.attempt(office)) {
      cancel()
      // Counted on its own: an attempt that hangs does not hold the leader in office.
      cancel = clock.schedule(renewDeadlineMs, () => term.abort())
    } else if (candidate.isBeaten) {
      term.abort()
      break
    }
  }
  cancel()
}

interface Candidate {
  /** Whether another holds the lease, as far as known. */
  readonly isBeaten: boolean
  /** Tries to hold the lease from now on. */
  attempt(signal?: AbortSignal): Promise<boolean>
  /** Gives the lease back if it is ours. */
  release(): Promise<void>
}

function createCandidate(leases: ResourceClient<Lease>, ownNamespace: string, options: LeaderOptions): Candidate {
  const { name, namespace = ownNamespace, leaseDurationMs = 15_000, clock = systemClock, onError } = options
  const { identity = `${hostname()}_${randomUUID()}` } = options
  let observed: ObservedLease | undefined

  async function write(signal: AbortSignal | undefined): Promise<boolean> {
    const now = clock.now()
    const step = decideLease(observed, identity, now)
    if (step === 'wait') return false
    const spec = renderLease(observed?.lease.spec, identity, leaseDurationMs, now)
    const lease =
      observed === undefined
        ? await leases.create({ metadata: { name, namespace }, spec }, { signal })
        : await leases.update({ ...observed.lease, spec }, { signal })
    // From before the request: the lease runs from the time written in it.
    observed = { lease, at: now }
    return true
  }

  async function read(signal: AbortSignal | undefined): Promise<void> {
    try {
      observed = observeLease(observed, await leases.get(name, { namespace, signal }), clock.now())
    } catch (error) {
      if (!isNotFound(error)) throw error
      observed = undefined
    }
  }

  return {
    get isBeaten() {
      const holder = observed?.lease.spec?.holderIdentity
      return holder !== undefined && holder !== '' && holder !== identity
    },
    async attempt(signal = options.signal) {
      try {
        // A holder knows the lease; if somebody changed it, the next attempt reads it first.
        if (observed?.lease.spec?.holderIdentity !== identity) await read(signal)
        return await write(signal)
      } catch (error) {
        const isRace = isConflict(error) || isAlreadyExists(error) || isNotFound(error)
        if (isRace) await read(signal).catch((cause: unknown) => onError?.(cause))
        else if (!signal.aborted) onError?.(error)
        return false
      }
    },
    async release() {
      if (observed?.lease.spec?.holderIdentity !== identity) return
      try {
        await leases.update({ ...observed.lease, spec: releaseLease(observed.lease.spec, clock.now()) })
      } catch (error) {
        if (!isConflict(error) && !isNotFound(error)) onError?.(error)
      }
      observed = undefined
    },
  }
}
