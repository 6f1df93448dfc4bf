import { availableParallelism } from 'node:os'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { checkNumber, ShedError } from './errors.ts'

export interface LoadShedderOptions {
  /** In errors and metrics. Default `load shedder`. */
  readonly name?: string | undefined
  /** The event loop is overloaded when its turns come this late. Default 100. */
  readonly maxDelayMs?: number | undefined
  /** The process is when it uses this share of its CPUs, from 0 to 1. Default 0.9. */
  readonly maxCpu?: number | undefined
  /** CPUs it may use; fractions are those of a container's quota. Default: what the system says. */
  readonly cpus?: number | undefined
  /** How often both are looked at. Default 250. */
  readonly sampleMs?: number | undefined
  readonly clock?: Clock | undefined
  /** CPU time used by this process so far. Default `process.cpuUsage()`. */
  readonly cpuMs?: (() => number) | undefined
}

/** Refuses work while this process has more than it can do. */
export interface LoadShedder extends Disposable {
  readonly name: string
  /** 0: idle. 1: at a threshold. */
  readonly load: number
  readonly cpu: number
  readonly delayMs: number
  readonly active: number
  readonly isOverloaded: boolean
  /**
   * Whether a call has to be refused now. `priority` from 0 to 1 (default 0.5): less important ones are refused from a lower
   * load on, those of 1 never.
   */
  shouldShed(priority?: number): boolean
  /** A call that was let in begins; hand back what this returns when it is over. */
  begin(now?: number): number
  end(startedAt: number, now?: number): void
  /** @throws {ShedError} */
  execute<T>(work: () => T | Promise<T>): Promise<T>
  health(): {
    readonly status: 'up' | 'degraded'
    readonly cpu: number
    readonly delayMs: number
    readonly active: number
  }
}

const windowMs = 5000
const bucketCount = 50
const bucketMs = windowMs / bucketCount
/** So long after the last overload calls are still looked at, as their number falls more slowly than the load. */
const coolOffMs = 1000

/**
 * Sheds load as go-zero does: only while CPU or event loop are beyond their threshold (or were within the last second), and only
 * calls beyond what is under way when the process is at its best, which is calls per second times the shortest average time.
 * So a burst that is being dealt with is not cut. Looks at the load by a timer that does not keep the process alive; disposing
 * of it ends that.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_POLICY`
 */
export function createLoadShedder(options: LoadShedderOptions = {}): LoadShedder {
  return new Shedder(options)
}

class Shedder implements LoadShedder {
  readonly name: string
  readonly #clock: Clock
  readonly #cpuMs: () => number
  readonly #maxDelayMs: number
  readonly #maxCpu: number
  readonly #cpus: number
  readonly #sampleMs: number
  readonly #passes = new Float64Array(bucketCount)
  readonly #timesMs = new Float64Array(bucketCount)
  #age: number
  #cancel: () => void = () => {}
  #sampledAt: number
  #usedMs: number
  #overloadedAt = -Infinity
  /** Smoothed, as the number of calls under way jumps. */
  #averageActive = 0
  cpu = 0
  delayMs = 0
  active = 0

  constructor(options: LoadShedderOptions) {
    this.name = options.name ?? 'load shedder'
    this.#clock = options.clock ?? backgroundClock
    this.#cpuMs = options.cpuMs ?? processCpuMs
    this.#maxDelayMs = checkNumber('a load shedder', 'maxDelayMs', options.maxDelayMs ?? 100, 1)
    this.#maxCpu = checkNumber('a load shedder', 'maxCpu', options.maxCpu ?? 0.9, 0.01)
    this.#cpus = checkNumber('a load shedder', 'cpus', options.cpus ?? availableParallelism(), 0.01)
    this.#sampleMs = checkNumber('a load shedder', 'sampleMs', options.sampleMs ?? 250, 10)
    this.#sampledAt = this.#clock.now()
    this.#age = Math.floor(this.#sampledAt / bucketMs)
    this.#usedMs = this.#cpuMs()
    this.#cancel = this.#clock.setTimeout(() => this.#sample(), this.#sampleMs)
  }

  get load(): number {
    return Math.max(this.cpu / this.#maxCpu, this.delayMs / this.#maxDelayMs)
  }

  get isOverloaded(): boolean {
    return this.load >= 1 || this.#clock.now() - this.#overloadedAt < coolOffMs
  }

  shouldShed(priority: number = 0.5): boolean {
    if (priority >= 1) return false
    const load = Math.max(this.load, this.#clock.now() - this.#overloadedAt < coolOffMs ? 1 : 0)
    // From 0.9 of the threshold for the least important to 1.1 for the most.
    if (load < 0.9 + 0.2 * priority) return false
    const bearable = Math.max(1, this.#bearable())
    return this.#averageActive > bearable && this.active > bearable
  }

  begin(now: number = this.#clock.now()): number {
    this.active += 1
    return now
  }

  end(startedAt: number, now: number = this.#clock.now()): void {
    this.active -= 1
    this.#averageActive = this.#averageActive * 0.9 + this.active * 0.1
    this.#roll(now)
    const index = this.#age % bucketCount
    this.#passes[index] = (this.#passes[index] ?? 0) + 1
    this.#timesMs[index] = (this.#timesMs[index] ?? 0) + (now - startedAt)
  }

  async execute<T>(work: () => T | Promise<T>): Promise<T> {
    if (this.shouldShed()) throw this.refusal()
    const startedAt = this.begin()
    try {
      return await work()
    } finally {
      this.end(startedAt)
    }
  }

  refusal(): ShedError {
    return new ShedError(
      this.name,
      `this process is overloaded (CPU ${Math.round(this.cpu * 100)}%, event loop ${Math.round(this.delayMs)} ms late)`,
    )
  }

  health(): { status: 'up' | 'degraded'; cpu: number; delayMs: number; active: number } {
    const { cpu, delayMs, active } = this
    return { status: this.isOverloaded ? 'degraded' : 'up', cpu, delayMs, active }
  }

  [Symbol.dispose](): void {
    this.#cancel()
  }

  #sample(): void {
    const now = this.#clock.now()
    const elapsedMs = now - this.#sampledAt
    const usedMs = this.#cpuMs()
    const cpu = elapsedMs > 0 ? (usedMs - this.#usedMs) / elapsedMs / this.#cpus : 0
    // Half of the new value: within a second an overload is known, and a single garbage collection is none.
    this.cpu = (this.cpu + cpu) / 2
    this.delayMs = (this.delayMs + Math.max(0, elapsedMs - this.#sampleMs)) / 2
    if (this.load >= 1) this.#overloadedAt = now
    this.#sampledAt = now
    this.#usedMs = usedMs
    this.#cancel = this.#clock.setTimeout(() => this.#sample(), this.#sampleMs)
  }

  /** Little's law at its best: the most calls per time, times the least time per call. */
  #bearable(): number {
    this.#roll(this.#clock.now())
    let mostPasses = 0
    let leastMs = Infinity
    for (const [index, passes] of this.#passes.entries()) {
      if (passes === 0) continue
      mostPasses = Math.max(mostPasses, passes)
      leastMs = Math.min(leastMs, (this.#timesMs[index] ?? 0) / passes)
    }
    return mostPasses === 0 ? 1 : Math.ceil((mostPasses / bucketMs) * leastMs)
  }

  #roll(now: number): void {
    const age = Math.floor(now / bucketMs)
    const steps = Math.min(age - this.#age, bucketCount)
    for (let step = 1; step <= steps; step += 1) {
      const index = (age - steps + step) % bucketCount
      this.#passes[index] = 0
      this.#timesMs[index] = 0
    }
    if (steps > 0) this.#age = age
  }
}

/** Its timers do not keep the process alive. */
const backgroundClock: Clock = {
  now: () => systemClock.now(),
  setTimeout(callback, delayMs) {
    const timer = setTimeout(callback, delayMs).unref()
    return () => clearTimeout(timer)
  },
}

function processCpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
