import { withDeadline } from '../deadline.ts'
import { messageOf } from '../errors.ts'

/** Where the service stands in its life. Only `ready` takes traffic. */
export type Availability = 'starting' | 'ready' | 'draining' | 'stopped'

/** `DEGRADED`: something not critical is down. `OUT_OF_SERVICE`: well, but starting or draining. */
export type HealthStatus = 'UP' | 'DEGRADED' | 'DOWN' | 'OUT_OF_SERVICE'

export interface ComponentHealth {
  readonly status: 'UP' | 'DOWN'
  readonly critical: boolean
  /** Why it is down. */
  readonly error?: string | undefined
  /** When this was found out, RFC 3339. */
  readonly checkedAt: string
  readonly durationMs: number
}

export interface HealthReport {
  readonly status: HealthStatus
  readonly service: string
  readonly version: string
  readonly environment: string
  readonly state: Availability
  readonly uptimeSeconds: number
  readonly components: Readonly<Record<string, ComponentHealth>>
}

export interface CheckOptions {
  /** Whether the service is not ready while this is down (default true), or only degraded. */
  readonly critical?: boolean | undefined
  /** A check that takes longer counts as down. Default 2000. */
  readonly timeoutMs?: number | undefined
  /** How long an answer is good for: probes of many callers cost one check. Default 1000. */
  readonly cacheMs?: number | undefined
}

/** Fails (throws, or returns false) when the component is down. */
export type Check = (signal: AbortSignal) => unknown

export interface Health {
  state: Availability
  /** Adds a component; a name that is there already is replaced. */
  addCheck(name: string, check: Check, options?: CheckOptions): void
  /** Asks every component, or uses its answer of a moment ago. Never throws. */
  report(): Promise<HealthReport>
}

export interface HealthOptions {
  readonly service: string
  readonly version?: string | undefined
  readonly environment?: string | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: (() => number) | undefined
}

/** The health of a service: its own state and that of the components it stands on. */
export function createHealth(options: HealthOptions): Health {
  const now = options.now ?? Date.now
  const since = now()
  const components = new Map<string, () => Promise<ComponentHealth>>()

  return {
    state: 'starting',
    addCheck(name, check, checkOptions = {}) {
      components.set(
        name,
        cached(() => runCheck(name, check, checkOptions, now), checkOptions.cacheMs ?? 1000, now),
      )
    },
    async report() {
      const found = await Promise.all(components.entries().map(async ([name, ask]) => [name, await ask()] as const))
      return {
        status: overall(
          this.state,
          found.map(([, component]) => component),
        ),
        service: options.service,
        version: options.version ?? 'unknown',
        environment: options.environment ?? 'development',
        state: this.state,
        uptimeSeconds: Math.round((now() - since) / 100) / 10,
        components: Object.fromEntries(found),
      }
    },
  }
}

/** Well or not, from the state and the components. A component that is down outweighs the state. */
export function overall(
  state: Availability,
  components: readonly Pick<ComponentHealth, 'status' | 'critical'>[],
): HealthStatus {
  const down = components.filter(({ status }) => status === 'DOWN')
  if (down.some(({ critical }) => critical)) return 'DOWN'
  if (state !== 'ready') return 'OUT_OF_SERVICE'
  return down.length > 0 ? 'DEGRADED' : 'UP'
}

async function runCheck(
  name: string,
  check: Check,
  options: CheckOptions,
  now: () => number,
): Promise<ComponentHealth> {
  const critical = options.critical ?? true
  const startedAt = now()
  const found = (error?: string): ComponentHealth => ({
    status: error === undefined ? 'UP' : 'DOWN',
    critical,
    ...(error === undefined ? {} : { error }),
    checkedAt: new Date(now()).toISOString(),
    durationMs: now() - startedAt,
  })
  try {
    const answer = await withDeadline(check, { action: 'check', subject: name, timeoutMs: options.timeoutMs ?? 2000 })
    return found(answer === false ? 'the check answered false' : undefined)
  } catch (error) {
    return found(messageOf(error))
  }
}

/** One question at a time, and none while the last answer is fresh. */
function cached<T>(ask: () => Promise<T>, cacheMs: number, now: () => number): () => Promise<T> {
  let answer: { readonly value: Promise<T>; settledAt: number } | undefined
  return () => {
    if (answer !== undefined && now() - answer.settledAt < cacheMs) return answer.value
    // Not settled yet: everybody waits for this one.
    const asked = { value: ask(), settledAt: Infinity }
    void asked.value.finally(() => (asked.settledAt = now()))
    answer = asked
    return asked.value
  }
}
