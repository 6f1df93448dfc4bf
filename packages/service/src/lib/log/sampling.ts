import type { LineLevel } from './levels.ts'

export interface SamplingOptions {
  /** Lines of one level and message written per interval before sampling begins. Default 100. */
  readonly first?: number | undefined
  /** After those, every so-manieth is written; 0 means none. Default 100. */
  readonly thereafter?: number | undefined
  /** Default 1000. */
  readonly intervalMs?: number | undefined
}

/** Messages told apart within an interval; further ones are written. */
const maxMessages = 1000

interface Count {
  readonly level: LineLevel
  readonly message: string
  seen: number
  /** Not written since the last line of this kind that was. */
  dropped: number
}

export interface Sampler {
  /** -1 to leave the line out, else how many of its kind were left out since the last one written. */
  admit(level: LineLevel, message: string, time: number): number
  /** Ends the interval: what was left out and not told on a line is told by `report`. */
  end(): void
  readonly dropped: number
}

/** Thins out bursts of one message. Lines at `fatal` are always written. */
export function createSampler(
  options: SamplingOptions,
  report: (level: LineLevel, message: string, dropped: number) => void,
): Sampler {
  const first = options.first ?? 100
  const thereafter = options.thereafter ?? 100
  const intervalMs = options.intervalMs ?? 1000
  let counts = new Map<string, Count>()
  let startedAt = Number.NEGATIVE_INFINITY
  let total = 0
  let timer: NodeJS.Timeout | undefined

  const end = (): void => {
    clearTimeout(timer)
    timer = undefined
    startedAt = Number.NEGATIVE_INFINITY
    const ended = counts
    counts = new Map()
    for (const { level, message, dropped } of ended.values()) if (dropped > 0) report(level, message, dropped)
  }
  return {
    admit(level, message, time) {
      if (level === 'fatal') return 0
      // Also when the clock was set back.
      if (time - startedAt >= intervalMs || time < startedAt) {
        end()
        startedAt = time
      }
      const key = `${level} ${message}`
      let count = counts.get(key)
      if (count === undefined) {
        if (counts.size >= maxMessages) return 0
        count = { level, message, seen: 0, dropped: 0 }
        counts.set(key, count)
      }
      count.seen += 1
      if (count.seen <= first || (thereafter > 0 && (count.seen - first) % thereafter === 0)) {
        const { dropped } = count
        count.dropped = 0
        return dropped
      }
      count.dropped += 1
      total += 1
      // The burst may be the last thing that is ever said.
      timer ??= setTimeout(end, intervalMs).unref()
      return -1
    },
    end,
    get dropped() {
      return total
    },
  }
}
