/** What became of a number of writes. */
export interface BatchOutcome {
  readonly done: number
  /** Of the first write that failed. */
  readonly error?: unknown
  /** A failure made it stop. */
  readonly failed: boolean
}

/** Writes `count` times in growing batches, so that what the server refuses costs one request instead of hundreds. */
export async function writeInGrowingBatches(
  count: number,
  write: (index: number) => Promise<unknown>,
): Promise<BatchOutcome> {
  let tried = 0
  let done = 0
  for (let batch = 1; tried < count; batch *= 2) {
    const size = Math.min(batch, count - tried)
    const first = tried
    const outcomes = await Promise.allSettled(Array.from({ length: size }, (_, index) => write(first + index)))
    tried += size
    done += outcomes.filter(({ status }) => status === 'fulfilled').length
    const rejected = outcomes.find((outcome) => outcome.status === 'rejected')
    if (rejected !== undefined) return { done, error: rejected.reason, failed: true }
  }
  return { done, failed: false }
}
