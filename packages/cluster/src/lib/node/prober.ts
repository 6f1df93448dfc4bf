import type { Clock } from '@fairlead/kube/controller'
import type { Container, Probe } from '@fairlead/kube/types/core-v1'

import type { ActionResult } from './actions.ts'

export type ProbeKind = 'startup' | 'readiness' | 'liveness'

/** Options of {@link watchProbes}. */
export interface ProberOptions {
  readonly clock: Clock
  /** Ends the probing. */
  readonly signal: AbortSignal
  run(probe: Probe, timeoutMs: number): Promise<ActionResult>
  /** The container was up before: it counts as started and as ready until a probe says otherwise. */
  readonly adopted?: { readonly ready: boolean } | undefined
  /** At random from 0 to 1: the part of a period that probes of adopted containers begin later. Default `Math.random`. */
  readonly spread?: (() => number) | undefined
  onStarted(): void
  onReady(ready: boolean): void
  /** A probe succeeded, and something about that is worth telling. */
  onWarning(kind: ProbeKind, message: string): void
  /** A probe failed; `isFatal` when so often that the container must be restarted. */
  onFailure(kind: ProbeKind, message: string, isFatal: boolean, probe: Probe): void
}

/** For so long after its start a container is probed more often than asked for, to be ready as soon as it can. */
const EAGER_MS = 15_000
const EAGER_FIRST_MS = 10
const EAGER_LONGEST_MS = 250
/** A program is started for each of these. */
const EAGER_EXEC_MS = 200

/** Probes a running container: startup first, then readiness and liveness side by side (core/v1 Probe). */
export async function watchProbes(container: Container, options: ProberOptions): Promise<void> {
  const { startupProbe, readinessProbe, livenessProbe } = container
  if (startupProbe && !options.adopted) await watchOne('startup', startupProbe, options)
  if (options.signal.aborted) return
  options.onStarted()
  if (!readinessProbe) options.onReady(true)
  await Promise.all([
    readinessProbe && watchOne('readiness', readinessProbe, options),
    livenessProbe && watchOne('liveness', livenessProbe, options),
  ])
}

/** Runs one probe until the signal aborts; a startup probe until it succeeds or fails for good. */
async function watchOne(kind: ProbeKind, probe: Probe, options: ProberOptions): Promise<void> {
  const { clock, signal } = options
  const periodMs = (probe.periodSeconds ?? 10) * 1000
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000
  const begun = clock.now()
  const delayMs = (probe.initialDelaySeconds ?? 0) * 1000
  const pause = createPause(clock, signal)
  // All containers of a node are adopted at once, and would be probed at once from then on.
  const firstMs = options.adopted ? (options.spread ?? Math.random)() * periodMs : delayMs
  if (firstMs > 0) await pause(firstMs)
  let count = newCount(kind, options.adopted?.ready ?? false)
  // Early failures are expected; the first that counts comes after one period, as if probing had begun then.
  let countedAt = clock.now()
  let eagerMs = probe.exec ? EAGER_EXEC_MS : EAGER_FIRST_MS
  while (!signal.aborted) {
    const askedAt = clock.now()
    const { ok, message, isWarning } = await options.run(probe, timeoutMs)
    if (signal.aborted) return
    const now = clock.now()
    // Before its beginning is only a clock that was set back: nobody knows how long ago that was.
    const isYoung = now >= begun && now - begun - delayMs < EAGER_MS
    const isEager = kind !== 'liveness' && !count.hasSucceeded && isYoung
    if (ok || !isEager || now - countedAt >= periodMs) {
      countedAt = now
      const before = count
      count = countResult(count, ok, probe, kind)
      const isFatal = kind !== 'readiness' && count.verdict === false && before.verdict !== false
      if (!ok) options.onFailure(kind, message, isFatal, probe)
      else if (isWarning) options.onWarning(kind, message)
      if (kind === 'readiness' && count.verdict !== before.verdict) options.onReady(count.verdict === true)
      if (isFatal || (kind === 'startup' && count.verdict === true)) return
    }
    // A period is from the beginning of one probe to that of the next, however long it takes to be answered.
    const restMs = Math.min(Math.max(0, askedAt + periodMs - now), periodMs)
    await pause(isEager && !ok ? Math.min(eagerMs, periodMs) : restMs)
    eagerMs = Math.min(Math.ceil(eagerMs * 1.5), Math.max(EAGER_LONGEST_MS, probe.exec ? 1000 : 0))
  }
}

/** Waits one after another, each of which an aborted `signal` ends early: it is listened to once, not for each of them. */
function createPause(clock: Clock, signal: AbortSignal): (delayMs: number) => Promise<void> {
  let wake: (() => void) | undefined
  let cancel: (() => void) | undefined
  const abort = (): void => {
    cancel?.()
    wake?.()
  }
  signal.addEventListener('abort', abort, { once: true })
  return async (delayMs) => {
    if (signal.aborted) return
    const { promise, resolve } = Promise.withResolvers<void>()
    wake = resolve
    cancel = clock.schedule(delayMs, resolve)
    await promise
  }
}

interface Count {
  readonly streak: number
  readonly last: boolean | undefined
  readonly verdict: boolean | undefined
  readonly hasSucceeded: boolean
}

function newCount(kind: ProbeKind, wasReady: boolean): Count {
  // A container is alive until it proves otherwise, and not ready until it proves it.
  const verdict = kind === 'liveness' ? true : kind === 'readiness' ? wasReady : undefined
  return { streak: 0, last: undefined, verdict, hasSucceeded: wasReady }
}

/** The verdict changes when results of one kind in a row reach their threshold. */
function countResult(count: Count, ok: boolean, probe: Probe, kind: ProbeKind): Count {
  const streak = count.last === ok ? count.streak + 1 : 1
  const needed = ok ? (kind === 'readiness' ? (probe.successThreshold ?? 1) : 1) : (probe.failureThreshold ?? 3)
  const verdict = streak >= needed ? ok : count.verdict
  return { streak, last: ok, verdict, hasSucceeded: count.hasSucceeded || verdict === true }
}
