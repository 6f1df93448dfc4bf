/** How long to wait before attempt `attempt` (from 1): `baseMs` doubled each time, at most `maxMs`. */
export function backoffMs(attempt: number, baseMs: number, maxMs: number): number {
  return Math.min(baseMs * 2 ** Math.min(attempt - 1, 40), maxMs)
}

/** Spreads a delay over ±20 %, so clients that failed together do not return together. */
export function jitter(delayMs: number, random: () => number = Math.random): number {
  return delayMs * (0.8 + 0.4 * random())
}
