import type { Logger } from '../log/logger.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { OtlpSender } from './answer.ts'
import type { OtlpSignal } from './settings.ts'

/** Why data did not arrive. */
export type DropReason = 'queue_full' | 'invalid' | 'refused' | 'rejected' | 'unreachable' | 'stopped'

/** Counts what became of the data of a signal. */
export interface DeliveryCounters {
  sent(count: number): void
  dropped(count: number, reason: DropReason): void
}

export interface DeliveryOptions {
  readonly signal: OtlpSignal
  /** For the log: without credentials. */
  readonly endpoint: string
  readonly sender: OtlpSender
  readonly counters: DeliveryCounters
  readonly log?: Logger | undefined
  /** For one request with all its attempts. */
  readonly timeoutMs: number
  /** The pause after attempt `n`, from 0. Default: from 1 s doubling to 10 s, with jitter. */
  readonly backoff?: ((attempt: number) => number) | undefined
}

type State = 'new' | 'delivered' | 'failing' | 'refused' | 'partial'

/**
 * Hands requests to a collector one after the other and tries again where that may help. Says in the log when that begins and
 * ceases to work, once each.
 */
export class Delivery {
  readonly #options: DeliveryOptions
  readonly #end = new AbortController()
  #state: State = 'new'
  #lost = 0
  /** How many are in a hurry. */
  #hurries = 0
  /** Tries that are left in a hurry. */
  #patience = Infinity
  #wake: (() => void) | undefined

  constructor(options: DeliveryOptions) {
    this.#options = options
  }

  /** Resolves when `body`, which holds `count` things, has been taken or given up. Never rejects. */
  async deliver(body: Buffer, count: number): Promise<void> {
    const { sender, counters, timeoutMs, backoff = defaultBackoff } = this.#options
    const giveUpAt = performance.now() + timeoutMs
    for (let attempt = 0; ; attempt += 1) {
      const answer = await sender.send(body, this.#end.signal)
      if (answer.kind === 'taken') {
        counters.sent(count - answer.rejected)
        if (answer.rejected > 0) this.#drop(answer.rejected, 'rejected')
        this.#turn(answer.rejected > 0 || answer.message ? 'partial' : 'delivered', answer.message)
        return
      }
      if (answer.kind === 'refused') {
        this.#drop(count, 'refused')
        this.#turn('refused', answer.reason)
        return
      }
      if (this.#end.signal.aborted) {
        this.#drop(count, 'stopped')
        return
      }
      this.#turn('failing', answer.reason)
      this.#patience -= 1
      if (this.#patience <= 0) {
        this.#drop(count, 'unreachable')
        return
      }
      const left = giveUpAt - performance.now()
      const pause = answer.afterMs ?? backoff(attempt)
      // A collector that asks for more patience than there is gets it: the next request comes no sooner.
      await this.#sleep(Math.min(pause, Math.max(0, left)))
      if (pause >= left && this.#hurries === 0) {
        this.#drop(count, 'unreachable')
        return
      }
    }
  }

  /**
   * From now on nothing waits for a better moment: somebody wants to be done. A collector that has been away is asked once more, one
   * that never was asked three times.
   */
  hurry(): void {
    if (this.#hurries === 0) this.#patience = patienceIn[this.#state]
    this.#hurries += 1
    this.#wake?.()
  }

  relax(): void {
    this.#hurries -= 1
    if (this.#hurries === 0) this.#patience = Infinity
  }

  /** Ends the attempt under way and lets there be no other. */
  abort(): void {
    this.#end.abort()
    this.hurry()
  }

  close(): void {
    this.abort()
    this.#options.sender.close()
  }

  #drop(count: number, reason: DropReason): void {
    this.#lost += count
    this.#options.counters.dropped(count, reason)
  }

  #turn(state: State, reason: string | undefined): void {
    if (state === this.#state) return
    const { log, signal, endpoint } = this.#options
    const before = this.#state
    this.#state = state
    if (state === 'delivered') {
      if (before !== 'new') log?.info('telemetry is delivered again', { signal, endpoint, dropped: this.#lost })
      this.#lost = 0
    } else {
      log?.warn(sentences[state], { signal, endpoint, reason })
    }
  }

  async #sleep(ms: number): Promise<void> {
    // In a hurry too: a collector that is down would be asked without a pause until time is up.
    const pause = this.#hurries > 0 ? Math.min(ms, 100) : ms
    if (this.#end.signal.aborted) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, pause)
    // A service that is done does not wait for it, one that flushes does.
    if (this.#hurries === 0) timer.unref()
    this.#wake = resolve
    await promise
    clearTimeout(timer)
    this.#wake = undefined
  }
}

const patienceIn = {
  new: 3,
  failing: 1,
  delivered: Infinity,
  partial: Infinity,
  refused: Infinity,
} as const satisfies Record<State, number>

const sentences = {
  failing: 'telemetry cannot be delivered',
  refused: 'telemetry is refused by the collector',
  partial: 'telemetry is taken in part or with a warning by the collector',
  new: '',
} as const satisfies Record<Exclude<State, 'delivered'>, string>

function defaultBackoff(attempt: number): number {
  return Math.min(10_000, 1000 * 2 ** attempt) * (0.8 + Math.random() * 0.4)
}

const countersOf = new WeakMap<Metrics, Record<OtlpSignal, DeliveryCounters>>()

/** Counters of a signal in `metrics`; none are kept without. */
export function deliveryCounters(metrics: Metrics | undefined, signal: OtlpSignal): DeliveryCounters {
  if (metrics === undefined) return { sent: () => {}, dropped: () => {} }
  const known = countersOf.get(metrics)
  if (known !== undefined) return known[signal]
  const sent = metrics.counter('fairlead_otlp_sent_total', {
    help: 'Spans and metric points that a collector has taken.',
    labels: ['signal'],
  })
  const dropped = metrics.counter('fairlead_otlp_dropped_total', {
    help: 'Spans and metric points that did not arrive at a collector.',
    labels: ['signal', 'reason'],
  })
  const create = (name: OtlpSignal): DeliveryCounters => ({
    sent: (count) => sent.labels({ signal: name }).inc(count),
    dropped: (count, reason) => dropped.labels({ signal: name, reason }).inc(count),
  })
  const counters = { traces: create('traces'), metrics: create('metrics') }
  countersOf.set(metrics, counters)
  return counters[signal]
}
