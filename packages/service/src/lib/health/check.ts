import { withDeadline } from '../deadline.ts'
import { messageOf } from '../errors.ts'
import { redactUrls } from '../log/redact.ts'
import type { ComponentHealth } from './health.ts'

/** Fails (throws, or returns false) when the component is down. */
export type Check = (signal: AbortSignal) => unknown

export interface CheckOptions {
  /** Whether the service is not ready while this is down (default true), or only degraded. */
  readonly critical?: boolean | undefined
  /** A check that takes longer counts as down. Default 2000. */
  readonly timeoutMs?: number | undefined
  /** How long an answer is good for: probes of many callers cost one check. Default 1000. */
  readonly cacheMs?: number | undefined
  /** Failures in a row before a component that was up counts as down. Default 1. */
  readonly failureThreshold?: number | undefined
  /** Successes in a row before a component that was down counts as up again. Default 1. */
  readonly successThreshold?: number | undefined
  /**
   * Asks every so many milliseconds on its own, and probes are answered with what was found last. Default: asked when a probe
   * comes. For checks that are dear, and for those whose change should be known before the next probe.
   */
  readonly intervalMs?: number | undefined
}

/** One component under watch. */
export interface WatchedCheck {
  /** What is known: found out now, or a moment ago. Never rejects. */
  ask(): Promise<ComponentHealth>
  /** What was found last, if anything was. */
  readonly last: ComponentHealth | undefined
  /** Ends the schedule. */
  stop(): void
}

/**
 * Watches one component: one question at a time, none while the last answer is fresh, and a verdict that changes only after
 * as many answers in a row as the thresholds say.
 */
export function watchCheck(
  name: string,
  check: Check,
  options: CheckOptions,
  now: () => number,
  onChange: (found: ComponentHealth, before: ComponentHealth | undefined) => void,
): WatchedCheck {
  let last: ComponentHealth | undefined
  let asking: Promise<ComponentHealth> | undefined
  let settledAt = Number.NEGATIVE_INFINITY
  let streak: Streak = { status: undefined, failures: 0, successes: 0 }
  let timer: NodeJS.Timeout | undefined
  let isStopped = false

  const find = async (): Promise<ComponentHealth> => {
    const startedAt = now()
    const error = await failureOf(name, check, options.timeoutMs ?? 2000)
    streak = count(streak, error === undefined, options)
    const before = last
    last = {
      status: streak.status ?? 'UP',
      critical: options.critical ?? true,
      // A failure is told even while it does not count yet.
      ...(error === undefined ? {} : { error }),
      ...(streak.failures > 0 ? { failures: streak.failures } : {}),
      checkedAt: new Date(now()).toISOString(),
      durationMs: now() - startedAt,
    }
    settledAt = now()
    asking = undefined
    if (!isStopped && before?.status !== last.status) onChange(last, before)
    return last
  }
  const question = (): Promise<ComponentHealth> => (asking ??= find())
  const schedule = (intervalMs: number): void => {
    if (isStopped) return
    timer = setTimeout(() => void question().then(() => schedule(intervalMs)), intervalMs).unref()
  }
  if (options.intervalMs !== undefined) {
    const { intervalMs } = options
    void question().then(() => schedule(intervalMs))
  }
  return {
    get last() {
      return last
    },
    ask() {
      if (last !== undefined && options.intervalMs !== undefined) return Promise.resolve(last)
      if (last !== undefined && asking === undefined && now() - settledAt < (options.cacheMs ?? 1000))
        return Promise.resolve(last)
      return question()
    },
    stop() {
      isStopped = true
      clearTimeout(timer)
    },
  }
}

interface Streak {
  /** Undefined before the first answer, which decides alone. */
  readonly status: ComponentHealth['status'] | undefined
  readonly failures: number
  readonly successes: number
}

/** The verdict after one more answer. */
export function count(
  { status, failures, successes }: Streak,
  isUp: boolean,
  options: Pick<CheckOptions, 'failureThreshold' | 'successThreshold'>,
): Streak {
  if (isUp) {
    const row = successes + 1
    const isTurn = status !== 'DOWN' || row >= (options.successThreshold ?? 1)
    return { status: isTurn ? 'UP' : 'DOWN', failures: 0, successes: row }
  }
  const row = failures + 1
  const isTurn = status !== 'UP' || row >= (options.failureThreshold ?? 1)
  return { status: isTurn ? 'DOWN' : 'UP', failures: row, successes: 0 }
}

async function failureOf(name: string, check: Check, timeoutMs: number): Promise<string | undefined> {
  try {
    const answer = await withDeadline(check, { action: 'check', subject: name, timeoutMs })
    return answer === false ? 'the check answered false' : undefined
  } catch (error) {
    // Shown at /health: connection errors like to name the whole URL.
    return redactUrls(messageOf(error))
  }
}
