import type { Environment } from '../lifecycle/resource.ts'
import type { Logger } from '../log/logger.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { syncClock } from '../trace/clock.ts'
import { runOutOfScope } from '../trace/current.ts'
import { readCount } from '../trace/limits.ts'
import type { SpanRecord, SpanSink } from '../trace/span.ts'
import type { OtlpSender } from './answer.ts'
import { Delivery, deliveryCounters } from './delivery.ts'
import type { DeliveryCounters } from './delivery.ts'
import { createSender } from './sender.ts'
import type { OtlpTarget } from './settings.ts'
import { JsonSpanBatch, ProtobufSpanBatch } from './spans.ts'
import type { ResourceAttributes, SpanBatch } from './spans.ts'

export interface BatchSettings {
  /** OTEL_BSP_SCHEDULE_DELAY: how long a span waits for others. Default 5000. */
  readonly delayMs: number
  /** OTEL_BSP_EXPORT_TIMEOUT: for a batch with all its attempts. Default 30000. */
  readonly timeoutMs: number
  /** OTEL_BSP_MAX_QUEUE_SIZE: spans that wait, those being sent included. Default 2048. */
  readonly maxQueue: number
  /** OTEL_BSP_MAX_EXPORT_BATCH_SIZE. Default 512. */
  readonly maxBatch: number
}

/** @throws {ServiceError} `FAIRLEAD_SERVICE_SETTING` */
export function readBatchSettings(env: Environment): BatchSettings {
  const maxQueue = readCount(env, 'OTEL_BSP_MAX_QUEUE_SIZE', 1) ?? 2048
  return {
    delayMs: readCount(env, 'OTEL_BSP_SCHEDULE_DELAY', 1) ?? 5000,
    timeoutMs: readCount(env, 'OTEL_BSP_EXPORT_TIMEOUT', 1) ?? 30_000,
    maxQueue,
    maxBatch: Math.min(maxQueue, readCount(env, 'OTEL_BSP_MAX_EXPORT_BATCH_SIZE', 1) ?? 512),
  }
}

export interface SpanExporterOptions {
  readonly target: OtlpTarget
  readonly resource: ResourceAttributes
  readonly batch: BatchSettings
  readonly log?: Logger | undefined
  readonly metrics?: Metrics | undefined
  /** Default: one for the target. */
  readonly sender?: OtlpSender | undefined
  readonly backoff?: ((attempt: number) => number) | undefined
}

/** Takes spans and sends them in batches. */
export interface SpanExporter extends SpanSink {
  /** Sends what there is; resolves when it is delivered or given up, after `timeoutMs` (default 2000) at the latest. */
  flush(timeoutMs?: number): Promise<void>
  /** Flushes, gives up what is left, and ends. Spans that come later are dropped. */
  stop(timeoutMs?: number): Promise<void>
}

/** Batches are closed at this size whatever their count, collectors refuse much larger ones. */
const maxBatchBytes = 1024 * 1024
/** And no more than this waits, whatever the spans hold. */
const maxQueueBytes = 16 * 1024 * 1024

/** Sends spans to a collector. The service does not feel whether it is there: what does not fit is counted and dropped. */
export function createSpanExporter(options: SpanExporterOptions): SpanExporter {
  return new BatchExporter(options)
}

class BatchExporter implements SpanExporter {
  readonly #options: SpanExporterOptions
  readonly #delivery: Delivery
  readonly #counters: DeliveryCounters
  readonly #timer: NodeJS.Timeout
  #open: SpanBatch
  readonly #closed: SpanBatch[] = []
  #queued = 0
  #closedBytes = 0
  #sending: Promise<void> | undefined
  #isStopped = false

  constructor(options: SpanExporterOptions) {
    const { target, log, batch, backoff } = options
    this.#options = options
    this.#counters = deliveryCounters(options.metrics, 'traces')
    const endpoint = target.url.origin + target.url.pathname
    const sender = options.sender ?? createSender(target, 'traces')
    const { timeoutMs } = batch
    this.#delivery = new Delivery({
      signal: 'traces',
      endpoint,
      sender,
      counters: this.#counters,
      log,
      timeoutMs,
      backoff,
    })
    this.#open = this.#newBatch()
    this.#timer = runOutOfScope(() => setInterval(() => this.#tick(), batch.delayMs).unref())
  }

  add(span: SpanRecord): void {
    const { maxQueue, maxBatch } = this.#options.batch
    if (this.#isStopped) return this.#counters.dropped(1, 'stopped')
    if (this.#queued >= maxQueue || this.#closedBytes >= maxQueueBytes) return this.#counters.dropped(1, 'queue_full')
    try {
      this.#open.add(span)
    } catch {
      // An attribute that cannot be written is not worth a request.
      return this.#counters.dropped(1, 'invalid')
    }
    this.#queued += 1
    if (this.#open.count < maxBatch && this.#open.sizeBytes < maxBatchBytes) return undefined
    this.#close()
    return runOutOfScope(() => this.#send())
  }

  async flush(timeoutMs = 2000): Promise<void> {
    if (this.#open.count > 0) this.#close()
    this.#send()
    if (this.#sending === undefined) return
    this.#delivery.hurry()
    const { promise: timeUp, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, timeoutMs)
    await Promise.race([this.#sending, timeUp])
    clearTimeout(timer)
    this.#delivery.relax()
  }

  async stop(timeoutMs = 2000): Promise<void> {
    if (this.#isStopped) return
    clearInterval(this.#timer)
    const flushed = this.flush(timeoutMs)
    this.#isStopped = true
    await flushed
    this.#delivery.abort()
    await this.#sending
    this.#delivery.close()
  }

  #newBatch(): SpanBatch {
    return this.#options.target.protocol === 'http/json' ? new JsonSpanBatch() : new ProtobufSpanBatch()
  }

  #tick(): void {
    syncClock()
    if (this.#open.count > 0) this.#close()
    this.#send()
  }

  #close(): void {
    this.#closed.push(this.#open)
    this.#closedBytes += this.#open.sizeBytes
    this.#open = this.#newBatch()
  }

  #send(): void {
    if (this.#sending === undefined && this.#closed.length > 0)
      this.#sending = this.#sendAll().finally(() => (this.#sending = undefined))
  }

  async #sendAll(): Promise<void> {
    for (let batch = this.#closed.shift(); batch !== undefined; batch = this.#closed.shift()) {
      await this.#delivery.deliver(batch.finish(this.#options.resource), batch.count)
      this.#queued -= batch.count
      this.#closedBytes -= batch.sizeBytes
    }
  }
}
