import { setTimeout as sleep } from 'node:timers/promises'
import { withDeadline } from '../deadline.ts'
import type { DrainableServer } from '../http/server.ts'

/** Work of a stopping service that comes before everything else. The signal aborts when its time is up. */
export type DrainHook = (signal: AbortSignal) => unknown

export interface DrainOptions {
  /**
   * Run together before readiness goes: leave the registry of a service discovery, stop taking work from queues, give back
   * leases. One that fails or hangs is left behind, and told of in the result.
   */
  readonly hooks?: Readonly<Record<string, DrainHook>> | undefined
  /** For all hooks together, within `timeoutMs`. Default 5000. */
  readonly hookTimeoutMs?: number | undefined
  /** Turns readiness off. Left out where the platform takes traffic away by itself and the flip would come too early. */
  readonly unready?: (() => void) | undefined
  /** How long to go on accepting connections, announcing the end on each response. */
  readonly delayMs: number
  /** How long an idle connection is left to its peer before it is closed. Default 1000. */
  readonly idleGraceMs?: number | undefined
  /** Over how long WebSockets and event streams are ended, each at a random moment. Default 0; less when time is short. */
  readonly goodbyeSpreadMs?: number | undefined
  /** After this, counted from the start, what is left is cut. */
  readonly timeoutMs: number
  /** Aborts to cut at once. */
  readonly signal?: AbortSignal | undefined
}

export interface Drained {
  /** Connections had to be cut. */
  readonly wasCut: boolean
  /** Hooks that failed or took too long. */
  readonly failures: readonly { readonly hook: string; readonly error: unknown }[]
  readonly durationMs: number
}

/**
 * Stops a server without failing a request.
 *
 * Clients find out that a keep-alive connection is about to end in one way only, `Connection: close` on a response (GOAWAY in
 * HTTP/2). So that is announced first, new connections are refused later, and connections without traffic are closed last, when
 * it is least likely that a request is on its way into them. WebSockets and event streams end when nothing new is accepted any
 * more: earlier, their clients would come back here.
 */
export async function drain(server: DrainableServer, options: DrainOptions): Promise<Drained> {
  const startedAt = performance.now()
  const deadline = AbortSignal.timeout(options.timeoutMs)
  const signal = options.signal ? AbortSignal.any([deadline, options.signal]) : deadline
  const failures = await runHooks(options, signal)
  options.unready?.()
  let wasCut = false
  try {
    if (options.delayMs > 0) {
      server.announceClose()
      await sleep(options.delayMs, undefined, { signal })
    }
    await server.stopAccepting({ signal })
    server.sayGoodbye(goodbyeSpread(options, performance.now() - startedAt))
    await Promise.race([server.whenClosed(), closeIdleConnections(server, options.idleGraceMs ?? 1000, signal)])
  } catch (error) {
    if (!signal.aborted) throw error
    wasCut = server.connections > 0
  } finally {
    server.closeAll()
  }
  return { wasCut, failures, durationMs: performance.now() - startedAt }
}

async function runHooks(options: DrainOptions, parent: AbortSignal): Promise<Drained['failures']> {
  const failures: { hook: string; error: unknown }[] = []
  const timeoutMs = Math.min(options.hookTimeoutMs ?? 5000, options.timeoutMs)
  const hooks = Object.entries(options.hooks ?? {})
  await Promise.all(
    hooks.map(([hook, work]) =>
      withDeadline(work, { action: 'finish', subject: hook, timeoutMs, parent }).catch((error: unknown) =>
        failures.push({ hook, error }),
      ),
    ),
  )
  return failures
}

/** At most half of the time there is: the last to be told needs some to answer. */
export function goodbyeSpread(
  { goodbyeSpreadMs = 0, timeoutMs }: Pick<DrainOptions, 'goodbyeSpreadMs' | 'timeoutMs'>,
  elapsedMs: number,
): number {
  return Math.max(0, Math.min(goodbyeSpreadMs, (timeoutMs - elapsedMs) / 2))
}

async function closeIdleConnections(server: DrainableServer, graceMs: number, signal: AbortSignal): Promise<void> {
  // The wait ends early when the peers are quicker than the grace; its timer is not what keeps a process alive then.
  const closed = server.whenClosed()
  await Promise.race([closed, sleep(graceMs, undefined, { signal, ref: false })])
  while (server.connections > 0) {
    server.closeIdle()
    await Promise.race([closed, sleep(50, undefined, { signal, ref: false })])
  }
}
