// Durations need a clock that does not jump, times of day one that is right: the monotonic clock, put right when the wall
// clock has moved away from it (a suspended machine, a set clock).
let offset = performance.timeOrigin

/** Milliseconds since the epoch, with fractions, of a time of `performance.now()`. */
export function toEpochMs(time: number): number {
  return time + offset
}

/** Now, in milliseconds since the epoch, with fractions; never runs backwards between two calls of {@link syncClock}. */
export function epochMs(): number {
  return performance.now() + offset
}

/** Follows the wall clock if it is more than 50 ms away. For whoever comes by every few seconds. */
export function syncClock(): void {
  const now = performance.now()
  if (Math.abs(Date.now() - (now + offset)) > 50) offset = Date.now() - now
}
