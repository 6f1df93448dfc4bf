import type { Series } from './exposition.ts'
import { readSeries } from './exposition.ts'
import { candidatesOf } from './metric-names.ts'
import type { ScrapeTarget } from './scrape-target.ts'

/** A pod to be asked. */
export interface ScrapedPod {
  readonly uid: string
  readonly target: ScrapeTarget
}

/** A figure of one pod. */
export interface PodMetric {
  readonly value: number
  /** When it was measured, in milliseconds since 1970, and over how many seconds. */
  readonly at: number
  readonly windowSeconds?: number | undefined
}

/** Which series of a metric count, by their labels. */
export type LabelTest = (labels: Readonly<Record<string, string>>) => boolean

interface Sample {
  readonly at: number
  readonly series: readonly Series[]
}

interface Pair {
  readonly earlier: Sample | undefined
  readonly latest: Sample
}

export interface PodMetricsOptions {
  readonly scrape: (target: ScrapeTarget, deadlineMs: number) => Promise<string>
  readonly now: () => number
}

/** All pods have to answer by then. */
const deadlineMs = 5_000
const shortestWindowMs = 5_000
/** A rate is of the last minutes, not of the last day. */
const longestWindowMs = 300_000
const lanes = 16
const shortestRateMs = 1_000
/** As many series as are remembered of all pods together; those not asked for longest go first. */
const mostSeriesKept = 200_000

/** Reads figures of pods when somebody asks; remembers the samples before, for rates. */
export class PodMetrics {
  readonly #options: PodMetricsOptions
  /** By pod and series, the oldest question first. */
  readonly #samples = new Map<string, Pair>()
  #size = 0

  constructor(options: PodMetricsOptions) {
    this.#options = options
  }

  /** The metric for each of `pods` that tells it, by uid; a rate only of those that were asked before. */
  async read(pods: readonly ScrapedPod[], metric: string, isCounted: LabelTest): Promise<Map<string, PodMetric>> {
    const found = new Map<string, PodMetric>()
    const waiting = [...pods]
    const until = this.#options.now() + deadlineMs
    const lane = async (): Promise<void> => {
      for (let pod = waiting.shift(); pod !== undefined; pod = waiting.shift()) {
        const leftMs = until - this.#options.now()
        const read = leftMs <= 0 ? undefined : await this.#readPod(pod, metric, isCounted, leftMs)
        if (read !== undefined) found.set(pod.uid, read)
      }
    }
    await Promise.all(Array.from({ length: Math.min(lanes, pods.length) }, lane))
    return found
  }

  /** A pod that does not answer has no metrics, as one that does not tell them. */
  async #readPod(
    { uid, target }: ScrapedPod,
    metric: string,
    isCounted: LabelTest,
    leftMs: number,
  ): Promise<PodMetric | undefined> {
    const candidates = candidatesOf(metric)
    const text = await this.#options.scrape(target, leftMs).catch(() => undefined)
    if (text === undefined) return undefined
    const at = this.#options.now()
    const told = readSeries(text, new Set(candidates.map(({ series }) => series)))
    for (const { series, isRate } of candidates) {
      const all = told.get(series)
      if (all === undefined) continue
      if (!isRate) return sumOf(all, isCounted, at)
      const earlier = this.#keep(`${uid} ${series}`, { at, series: all })
      return earlier === undefined ? undefined : rateOf(earlier, { at, series: all }, isCounted)
    }
    return undefined
  }

  /** Remembers a sample; the one to compare it with. */
  #keep(key: string, sample: Sample): Sample | undefined {
    const known = this.#samples.get(key)
    this.#forget(key)
    const pair = replaceSample(known, sample)
    this.#samples.set(key, pair)
    this.#size += sizeOf(pair)
    for (const [oldest, { latest }] of this.#samples) {
      if (oldest === key || (this.#size <= mostSeriesKept && sample.at - latest.at <= longestWindowMs)) break
      this.#forget(oldest)
    }
    const before = pair.latest === sample ? pair.earlier : (pair.earlier ?? pair.latest)
    const windowMs = before === undefined ? 0 : sample.at - before.at
    return windowMs >= shortestRateMs && windowMs <= longestWindowMs ? before : undefined
  }

  #forget(key: string): void {
    const known = this.#samples.get(key)
    if (known === undefined) return
    this.#samples.delete(key)
    this.#size -= sizeOf(known)
  }
}

/** A sample soon after the last takes nobody's place: windows would shrink to the pauses between questions. */
function replaceSample(known: Pair | undefined, latest: Sample): Pair {
  if (known === undefined) return { earlier: undefined, latest }
  return latest.at - known.latest.at < shortestWindowMs ? known : { earlier: known.latest, latest }
}

function sizeOf({ earlier, latest }: Pair): number {
  return (earlier?.series.length ?? 0) + latest.series.length
}

function sumOf(series: readonly Series[], isCounted: LabelTest, at: number): PodMetric | undefined {
  const counted = series.filter(({ labels }) => isCounted(labels))
  return counted.length === 0 ? undefined : { at, value: counted.reduce((sum, { value }) => sum + value, 0) }
}

/** As Prometheus' `rate`: a counter that fell began again at zero; one that is new tells nothing yet. */
function rateOf(earlier: Sample, latest: Sample, isCounted: LabelTest): PodMetric | undefined {
  const before = new Map(earlier.series.map(({ labels, value }) => [keyOf(labels), value]))
  const counted = latest.series.filter(({ labels }) => isCounted(labels))
  if (counted.length === 0) return undefined
  const grown = counted.reduce((sum, { labels, value }) => {
    const last = before.get(keyOf(labels))
    return sum + (last === undefined ? 0 : value < last ? value : value - last)
  }, 0)
  const windowSeconds = (latest.at - earlier.at) / 1000
  return { at: latest.at, value: grown / windowSeconds, windowSeconds: Math.max(1, Math.round(windowSeconds)) }
}

function keyOf(labels: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
