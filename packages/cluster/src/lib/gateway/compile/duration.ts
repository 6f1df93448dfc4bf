const unitsMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 0.001, ns: 0.000_001 }

/** What a timer can wait for: 24 days. */
const longestMs = 2 ** 31 - 1

/** Milliseconds of a duration such as `1.5s`, `2m30s`, `100ms`, at most 24 days; undefined when it is absent or none. */
export function parseDurationMs(text: string | undefined): number | undefined {
  if (text === undefined || !/^(\d+(\.\d+)?(h|ms|m|s|us|ns))+$/.test(text)) return undefined
  let total = 0
  for (const [, amount = '', unit = ''] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s|us|ns)/g)) {
    total += Number(amount) * (unitsMs[unit] ?? 0)
  }
  return Math.min(total, longestMs)
}

/** The same, where nothing and `0s` both mean that there is no limit. */
export function parseLimitMs(text: string | undefined): number | undefined {
  return parseDurationMs(text) || undefined
}
