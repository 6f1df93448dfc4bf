import { setTimeout as sleep } from 'node:timers/promises'
import type { DrainableServer } from '../http/server.ts'

export interface DrainOptions {
  /** How long to go on accepting connections, announcing the end on each response. */
  readonly delayMs: number
  /** How long an idle connection is left to its peer before it is closed. Default 1000. */
  readonly idleGraceMs?: number | undefined
  /** After this, what is left is cut. */
  readonly timeoutMs: number
  /** Aborts to cut at once. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Stops a server without failing a request; resolves to whether connections had to be cut.
 *
 * Clients find out that a keep-alive connection is about to end in one way only, `Connection: close` on a response. So that is
 * announced first, new connections are refused later, and connections without traffic are closed last, when it is least
 * likely that a request is on its way into them.
 */
export async function drain(server: DrainableServer, options: DrainOptions): Promise<{ readonly wasCut: boolean }> {
  const deadline = AbortSignal.timeout(options.timeoutMs)
  const signal = options.signal ? AbortSignal.any([deadline, options.signal]) : deadline
  try {
    if (options.delayMs > 0) {
      server.announceClose()
      await sleep(options.delayMs, undefined, { signal })
    }
    await server.stopAccepting()
    await Promise.race([server.whenClosed(), closeIdleConnections(server, options.idleGraceMs ?? 1000, signal)])
    return { wasCut: false }
  } catch (error) {
    if (signal.aborted) return { wasCut: server.connections > 0 }
    throw error
  } finally {
    server.closeAll()
  }
}

async function closeIdleConnections(server: DrainableServer, graceMs: number, signal: AbortSignal): Promise<void> {
  // The wait ends early when the peers are quicker than the grace.
  const closed = server.whenClosed()
  await Promise.race([closed, sleep(graceMs, undefined, { signal })])
  while (server.connections > 0) {
    server.closeIdle()
    await Promise.race([closed, sleep(50, undefined, { signal })])
  }
}
