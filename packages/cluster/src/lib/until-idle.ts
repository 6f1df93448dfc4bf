import { setTimeout as sleep } from 'node:timers/promises'

/** Options of {@link untilIdle}. */
export interface UntilIdleOptions {
  /** How long there has to be next to nothing to do. Default 4. */
  readonly sliceMs?: number | undefined
  /** After this long it is given up. Default 30. */
  readonly atMostMs?: number | undefined
}

/** What may be done in a slice that counts as idle: a file is read, a process tells that it has ended. */
const idleShare = 0.25

/**
 * Resolves when the event loop has had next to nothing to do for a moment. A client that waits for this process has been answered by then:
 * from its first packet to its request, by way of a handshake, are a few turns with a millisecond between them.
 */
export async function untilIdle({ sliceMs = 4, atMostMs = 30 }: UntilIdleOptions = {}): Promise<void> {
  const end = performance.now() + atMostMs
  let isIdle = false
  while (!isIdle && performance.now() < end) {
    const before = performance.eventLoopUtilization()
    await sleep(sliceMs)
    isIdle = performance.eventLoopUtilization(before).active < sliceMs * idleShare
  }
}
