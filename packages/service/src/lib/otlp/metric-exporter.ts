import type { Environment } from '../lifecycle/resource.ts'
import type { Logger } from '../log/logger.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { runOutOfScope } from '../trace/current.ts'
import { readCount } from '../trace/limits.ts'
import type { OtlpSender } from './answer.ts'
import { Delivery, deliveryCounters } from './delivery.ts'
import { countPoints, encodeMetrics, encodeMetricsJson } from './metrics.ts'
import { createSender } from './sender.ts'
import type { OtlpTarget } from './settings.ts'
import type { ResourceAttributes } from './spans.ts'

export interface MetricExportSettings {
  /** OTEL_METRIC_EXPORT_INTERVAL. Default 60000. */
  readonly intervalMs: number
  /** OTEL_METRIC_EXPORT_TIMEOUT: for one collection with all its attempts, at most the interval. Default 30000. */
  readonly timeoutMs: number
}

/** @throws {ServiceError} `FAIRLEAD_SERVICE_SETTING` */
export function readMetricExportSettings(env: Environment): MetricExportSettings {
  const intervalMs = readCount(env, 'OTEL_METRIC_EXPORT_INTERVAL', 1) ?? 60_000
  return { intervalMs, timeoutMs: Math.min(intervalMs, readCount(env, 'OTEL_METRIC_EXPORT_TIMEOUT', 1) ?? 30_000) }
}

export interface MetricExporterOptions extends MetricExportSettings {
  readonly target: OtlpTarget
  readonly resource: ResourceAttributes
  readonly metrics: Metrics
  readonly log?: Logger | undefined
  /** Default: one for the target. */
  readonly sender?: OtlpSender | undefined
  readonly backoff?: ((attempt: number) => number) | undefined
}

export interface MetricExporter {
  /** Collects and sends now. */
  flush(timeoutMs?: number): Promise<void>
  /** Sends the last state and ends. */
  stop(timeoutMs?: number): Promise<void>
}

/** Sends a set of metrics to a collector, again and again: nothing is kept for a collector that is away, sums lose nothing. */
export function createMetricExporter(options: MetricExporterOptions): MetricExporter {
  const { target, metrics, log, resource, timeoutMs, backoff } = options
  const endpoint = target.url.origin + target.url.pathname
  const counters = deliveryCounters(metrics, 'metrics')
  const sender = options.sender ?? createSender(target, 'metrics')
  const delivery = new Delivery({ signal: 'metrics', endpoint, sender, counters, log, timeoutMs, backoff })
  const encode = target.protocol === 'http/json' ? encodeMetricsJson : encodeMetrics
  let sending: Promise<void> | undefined
  let isStopped = false

  const send = (): Promise<void> => {
    // The request before is still being tried: the next one will hold all that it holds.
    if (sending !== undefined) return sending
    const families = metrics.collect()
    sending = delivery.deliver(encode(families, resource, Date.now()), countPoints(families)).finally(() => {
      sending = undefined
    })
    return sending
  }
  const timer = runOutOfScope(() => setInterval(() => void send(), options.intervalMs).unref())

  const flush = async (limitMs = 2000): Promise<void> => {
    const { promise: timeUp, resolve } = Promise.withResolvers<void>()
    const deadline = setTimeout(resolve, limitMs)
    delivery.hurry()
    // One may be under way that does not have the latest.
    const done = (sending ?? Promise.resolve()).then(() => send())
    await Promise.race([done, timeUp])
    clearTimeout(deadline)
    delivery.relax()
  }
  return {
    flush,
    async stop(limitMs) {
      if (isStopped) return
      isStopped = true
      clearInterval(timer)
      await flush(limitMs)
      delivery.abort()
      await sending
      delivery.close()
    },
  }
}
