import { setTimeout as sleep } from 'node:timers/promises'

import { KubeError } from './kube-error.ts'
import type { TransportRequest } from './transport.ts'

/** As client-go: ten repetitions, and no delay past half a minute. */
const maxAttempts = 10
const maxDelayMs = 30_000

/** Runs one request until it gives an answer or a failure that repeating does not mend. */
export async function withRetries<R>(
  request: Pick<TransportRequest, 'method' | 'signal'>,
  run: () => Promise<R>,
): Promise<R> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await run()
    } catch (error) {
      const delayMs = attempt < maxAttempts ? retryDelayMs(request.method, error, attempt) : undefined
      if (delayMs === undefined) {
        throw error
      }
      await wait(delayMs, request.signal)
    }
  }
}

/**
 * Milliseconds until a failed request may be sent again; undefined = never. A server that says `Retry-After` has refused before
 * it acted, so any request may be repeated; after a reset nobody knows, so only one that changes nothing is.
 */
export function retryDelayMs(method: string, error: unknown, attempt: number): number | undefined {
  if (error instanceof KubeError) {
    const isRefusal = error.httpStatus === 429 || error.httpStatus >= 500
    return isRefusal && error.retryAfterMs !== undefined ? Math.min(error.retryAfterMs, maxDelayMs) : undefined
  }
  return (method === 'GET' || method === 'HEAD') && isReset(error) ? Math.min(50 * 2 ** (attempt - 1), 1000) : undefined
}

/** Whether a connection that stood broke: what listens there may answer the next one. */
function isReset(error: unknown): boolean {
  const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined
  return cause?.code === 'ECONNRESET' || cause?.code === 'EPIPE'
}

async function wait(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(delayMs, undefined, signal && { signal })
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  }
}

/** Reads `Retry-After` (RFC 9110 10.2.3): seconds, or a date. */
export function parseRetryAfter(text: string | undefined, now: number = Date.now()): number | undefined {
  if (text === undefined || text.trim() === '') {
    return undefined
  }
  const ms = /^\d+$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - now
  return Number.isNaN(ms) ? undefined : Math.max(0, ms)
}
