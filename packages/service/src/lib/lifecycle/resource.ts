import type { Logger } from '../log/logger.ts'
import type { Metrics } from '../metrics/metrics.ts'

/** Environment variables, as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>

/** What a resource's start step is given, besides the resources it needs. */
export interface StartContext {
  readonly log: Logger
  /** Where resources count; what they add there is shown at `/metrics`. */
  readonly metrics: Metrics
  /** Aborts when the start takes too long or the service is told to stop meanwhile. */
  readonly signal: AbortSignal
  readonly env: Environment
}

export interface ResourceOptions<T> {
  /** Releases the value. Default: the value's own `Symbol.asyncDispose` or `Symbol.dispose`, if it has one. */
  readonly stop?: ((value: T, signal: AbortSignal) => unknown) | undefined
  /** Fails (throws, or returns false) when the value cannot do its work now. Asked by the readiness probe. */
  readonly health?: ((value: T, signal: AbortSignal) => unknown) | undefined
  /** Whether the service is not ready without it (default true); false makes it degraded instead. */
  readonly critical?: boolean | undefined
  /** Default 15000. */
  readonly startTimeoutMs?: number | undefined
  /** Default 5000. */
  readonly stopTimeoutMs?: number | undefined
}

/** Something with a lifetime that handlers use: a database, a client, a consumer. Made by {@link resource}. */
export interface Resource<T> {
  readonly needs: ResourceMap
  readonly critical: boolean
  readonly startTimeoutMs: number
  readonly stopTimeoutMs: number
  readonly hasHealth: boolean
  // Methods, so that a Resource<Database> is a Resource<unknown>.
  start(context: StartContext & Readonly<Record<string, unknown>>): Promise<T>
  stop(value: T, signal: AbortSignal): Promise<void>
  health(value: T, signal: AbortSignal): Promise<void>
}

export type ResourceMap = Readonly<Record<string, Resource<unknown>>>

/** The values of the resources in a map, by the same names. */
export type ResourceValues<Map extends ResourceMap> = {
  readonly [Name in keyof Map]: Map[Name] extends Resource<infer T> ? T : never
}

/**
 * Declares a resource; nothing runs before the service starts. Resources it needs are started before it and stopped
 * after it, and those that do not need each other start at the same time.
 *
 * ```ts
 * const db = resource(({ env }) => new DatabaseSync(env['DB'] ?? ':memory:'))
 * const store = resource({ db }, ({ db }) => new Store(db), { health: (store) => store.ping() })
 * ```
 */
export function resource<T>(start: (context: StartContext) => T | Promise<T>, options?: ResourceOptions<T>): Resource<T>
export function resource<Needs extends ResourceMap, T>(
  needs: Needs,
  start: (context: StartContext & ResourceValues<Needs>) => T | Promise<T>,
  options?: ResourceOptions<T>,
): Resource<T>
export function resource<T>(...args: readonly unknown[]): Resource<T> {
  const [needs, start, options = {}] = (typeof args[0] === 'function' ? [{}, ...args] : args) as [
    ResourceMap,
    (context: StartContext) => T | Promise<T>,
    ResourceOptions<T>?,
  ]
  return {
    needs,
    critical: options.critical ?? true,
    startTimeoutMs: options.startTimeoutMs ?? 15_000,
    stopTimeoutMs: options.stopTimeoutMs ?? 5_000,
    hasHealth: options.health !== undefined,
    async start(context) {
      return await start(context)
    },
    async stop(value, signal) {
      await (options.stop === undefined ? dispose(value) : options.stop(value, signal))
    },
    async health(value, signal) {
      if ((await options.health?.(value, signal)) === false) throw new Error('the check answered false')
    },
  }
}

async function dispose(value: unknown): Promise<void> {
  if (typeof value !== 'object' || value === null) return
  const { [Symbol.asyncDispose]: disposeLater, [Symbol.dispose]: disposeNow } = value as Partial<
    AsyncDisposable & Disposable
  >
  if (disposeLater) await disposeLater.call(value)
  else disposeNow?.call(value)
}
