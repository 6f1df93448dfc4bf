import type { Logger } from '../log/logger.ts'
import type { Gauge, Metrics } from '../metrics/metrics.ts'
import { watchCheck } from './check.ts'
import type { Check, CheckOptions, WatchedCheck } from './check.ts'

/** Where the service stands in its life. Only `ready` takes traffic. */
export type Availability = 'starting' | 'ready' | 'draining' | 'stopped'

/** `DEGRADED`: something not critical is down. `OUT_OF_SERVICE`: well, but starting or draining. */
export type HealthStatus = 'UP' | 'DEGRADED' | 'DOWN' | 'OUT_OF_SERVICE'

export interface ComponentHealth {
  readonly status: 'UP' | 'DOWN'
  readonly critical: boolean
  /** Why it is down, or why the last check failed although that does not count yet. */
  readonly error?: string | undefined
  /** Failed checks in a row, when there are any. */
  readonly failures?: number | undefined
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

export interface Health {
  state: Availability
  /** Adds a component; a name that is there already is replaced. Returns what takes it away again. */
  addCheck(name: string, check: Check, options?: CheckOptions): () => void
  /** Asks every component, or uses its answer of a moment ago. Never throws. */
  report(): Promise<HealthReport>
  /** Ends scheduled checks. Health can still be asked. */
  stop(): void
}

export interface HealthOptions {
  readonly service: string
  readonly version?: string | undefined
  readonly environment?: string | undefined
  /** Told when a component changes, and when the service does. */
  readonly log?: Logger | undefined
  /** Gets `health_check_status{check}` (1 up, 0 down) and `health_status` (1 when the service would be told ready). */
  readonly metrics?: Metrics | undefined
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: (() => number) | undefined
}

/** The health of a service: its own state and that of the components it stands on. */
export function createHealth(options: HealthOptions): Health {
  const now = options.now ?? Date.now
  const since = now()
  const components = new Map<string, WatchedCheck>()
  const gauge = options.metrics?.gauge('health_check_status', {
    help: 'Whether the component was up (1) or down (0) when it was last checked.',
    labels: ['check'],
  })
  const own = options.metrics?.gauge('health_status', {
    help: 'Whether the service is ready for traffic (1) or not (0).',
  })
  let state: Availability = 'starting'
  const statusNow = (): HealthStatus =>
    overall(
      state,
      components
        .values()
        .flatMap(({ last }) => (last === undefined ? [] : [last]))
        .toArray(),
    )
  options.metrics?.onCollect(() => own?.set(isReady(statusNow()) ? 1 : 0))

  return {
    get state() {
      return state
    },
    set state(next) {
      if (next !== state) options.log?.debug('service state changed', { from: state, to: next })
      state = next
    },
    addCheck(name, check, checkOptions = {}) {
      components.get(name)?.stop()
      const watched = watchCheck(name, check, checkOptions, now, (found, before) =>
        tell(name, found, before, options.log, gauge),
      )
      components.set(name, watched)
      return () => {
        watched.stop()
        if (components.get(name) === watched) components.delete(name)
      }
    },
    async report() {
      const found = await Promise.all(
        components.entries().map(async ([name, watched]) => [name, await watched.ask()] as const),
      )
      return {
        status: overall(
          state,
          found.map(([, component]) => component),
        ),
        service: options.service,
        version: options.version ?? 'unknown',
        environment: options.environment ?? 'development',
        state,
        uptimeSeconds: Math.round((now() - since) / 100) / 10,
        components: Object.fromEntries(found),
      }
    },
    stop() {
      for (const watched of components.values()) watched.stop()
    },
  }
}

function tell(
  name: string,
  found: ComponentHealth,
  before: ComponentHealth | undefined,
  log: Logger | undefined,
  gauge: Gauge<'check'> | undefined,
): void {
  gauge?.labels({ check: name }).set(found.status === 'UP' ? 1 : 0)
  const fields = { component: name, critical: found.critical, duration_ms: found.durationMs }
  if (found.status === 'DOWN')
    log?.[found.critical ? 'error' : 'warn']('component down', {
      ...fields,
      reason: found.error,
    })
  else if (before !== undefined) log?.info('component up again', fields)
}

/** Whether traffic should come: degraded is still of use. */
export function isReady(status: HealthStatus): boolean {
  return status === 'UP' || status === 'DEGRADED'
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
