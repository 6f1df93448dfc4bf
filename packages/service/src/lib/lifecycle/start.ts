import { withDeadline } from '../deadline.ts'
import { startFailed, stopFailed } from '../errors.ts'
import type { Logger } from '../log/logger.ts'
import { createMetrics } from '../metrics/metrics.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Environment, Resource, ResourceMap, ResourceValues } from './resource.ts'

export interface StartResourcesOptions {
  readonly log: Logger
  /** Default: a set of their own. */
  readonly metrics?: Metrics | undefined
  readonly env: Environment
  readonly signal?: AbortSignal | undefined
  /** Values that are there already, by the resource they are of; who made them stops them. */
  readonly given?: ReadonlyMap<Resource<unknown>, unknown> | undefined
}

/** Resources that are running. `await using` stops them. */
export interface StartedResources<Map extends ResourceMap> extends AsyncDisposable {
  readonly values: ResourceValues<Map>
  /** Every started resource, those only needed by others included, in the order they became ready. */
  readonly started: readonly StartedResource[]
  /**
   * Stops in reverse order, each step within its `stopTimeoutMs`; all are tried even when some fail. A second call returns the first one's promise.
   *
   * @throws {ServiceError} `FAIRLEAD_SERVICE_STOP` naming every step that failed.
   */
  stop(): Promise<void>
}

export interface StartedResource {
  readonly name: string
  readonly resource: Resource<unknown>
  readonly value: unknown
}

/**
 * Starts resources, each after those it needs, independent ones at the same time. When one fails, the others are told
 * by their signal, those that had started are stopped, and the first failure is thrown.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_START` naming the resource.
 */
export async function startResources<Map extends ResourceMap>(
  resources: Map,
  options: StartResourcesOptions,
): Promise<StartedResources<Map>> {
  const started: StartedResource[] = []
  const { log, env, metrics = createMetrics() } = options
  const starting = new Map<Resource<unknown>, Promise<unknown>>()
  for (const [resource, value] of options.given ?? []) starting.set(resource, Promise.resolve(value))
  const failure = new AbortController()
  const parent = options.signal ? AbortSignal.any([options.signal, failure.signal]) : failure.signal

  const start = (name: string, resource: Resource<unknown>): Promise<unknown> => {
    // One resource needed twice starts once. Needs are values that existed before the resource, so there are no cycles.
    let value = starting.get(resource)
    if (value === undefined) {
      value = startOne(name, resource)
      starting.set(resource, value)
    }
    return value
  }
  const startOne = async (name: string, resource: Resource<unknown>): Promise<unknown> => {
    const needs = await startMap(resource.needs)
    const startedAt = performance.now()
    let work: Promise<unknown> | undefined
    const begin = (signal: AbortSignal): Promise<unknown> =>
      (work = resource.start({ ...needs, log, metrics, env, signal }))
    try {
      const value = await withDeadline(begin, {
        action: 'start resource',
        subject: name,
        timeoutMs: resource.startTimeoutMs,
        parent,
      })
      started.push({ name, resource, value })
      options.log.debug('resource started', { resource: name, duration_ms: Math.round(performance.now() - startedAt) })
      return value
    } catch (error) {
      // It may still come up behind our back: then it is released, since nobody will use it.
      work?.then((late) => resource.stop(late, AbortSignal.timeout(resource.stopTimeoutMs))).catch(() => {})
      const named = startFailed(name, error)
      failure.abort(named)
      throw named
    }
  }
  const startMap = async (map: ResourceMap): Promise<Record<string, unknown>> => {
    const entries = Object.entries(map)
    const outcomes = await Promise.allSettled(entries.map(([name, resource]) => start(name, resource)))
    // The signal's reason is the first failure; those of the others follow from it.
    if (outcomes.some(({ status }) => status === 'rejected')) throw failure.signal.reason
    return Object.fromEntries(entries.map(([name], index) => [name, fulfilled(outcomes[index])]))
  }

  const stop = once(() => stopAll(started, options.log))
  try {
    return { values: (await startMap(resources)) as ResourceValues<Map>, started, stop, [Symbol.asyncDispose]: stop }
  } catch (error) {
    await stop().catch((stopError: unknown) =>
      options.log.warn('could not stop after a failed start', { err: stopError }),
    )
    throw error
  }
}

async function stopAll(started: readonly StartedResource[], log: Logger): Promise<void> {
  const failures: { name: string; error: unknown }[] = []
  for (const { name, resource, value } of started.toReversed()) {
    try {
      await withDeadline((signal) => resource.stop(value, signal), {
        action: 'stop resource',
        subject: name,
        timeoutMs: resource.stopTimeoutMs,
      })
      log.debug('resource stopped', { resource: name })
    } catch (error) {
      failures.push({ name, error })
    }
  }
  if (failures.length > 0) throw stopFailed(failures)
}

function fulfilled(outcome: PromiseSettledResult<unknown> | undefined): unknown {
  return outcome?.status === 'fulfilled' ? outcome.value : undefined
}

function once<T>(work: () => T): () => T {
  let result: { readonly value: T } | undefined
  return () => (result ??= { value: work() }).value
}
