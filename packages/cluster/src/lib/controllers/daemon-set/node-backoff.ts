const firstMs = 1000
const mostMs = 15 * 60_000

/** Slows down the replacing of pods that fail again and again on one node: after 1 s, doubled up to 15 min. */
export interface NodeBackoff {
  /** How long to leave the failed pod of `key`; 0 when it may go now, which counts as a try. */
  takeMs(key: string, now: number): number
  /** Forgets what has not failed for long. */
  prune(now: number): void
}

export function createNodeBackoff(): NodeBackoff {
  const tries = new Map<string, { readonly at: number; readonly delayMs: number }>()
  const isForgotten = (at: number, now: number): boolean => now - at > 2 * mostMs
  return {
    takeMs(key, now) {
      const last = tries.get(key)
      const left = last === undefined ? 0 : last.at + last.delayMs - now
      if (left > 0) return left
      const again = last !== undefined && !isForgotten(last.at, now)
      tries.set(key, { at: now, delayMs: again ? Math.min(last.delayMs * 2, mostMs) : firstMs })
      return 0
    },
    prune(now) {
      for (const [key, { at }] of tries) if (isForgotten(at, now)) tries.delete(key)
    },
  }
}
