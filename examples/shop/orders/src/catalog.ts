import { client } from '@fairlead/service'
import type { Metrics } from '@fairlead/service/metrics'
import { z } from 'zod'

/** What orders needs of the catalog. */
export interface Stock extends Disposable {
  /**
   * Takes the lines out of stock under the order's id; asking again changes nothing.
   *
   * @throws {CallError} `status` 409 when that is not possible.
   */
  reserve(orderId: string, lines: readonly OrderedLine[]): Promise<readonly ReservedLine[]>
  ping(signal: AbortSignal): Promise<void>
}

export interface OrderedLine {
  readonly sku: string
  readonly quantity: number
  readonly priceCents?: number | undefined
}

interface ReservedLine {
  readonly sku: string
  readonly quantity: number
  readonly name: string
  readonly priceCents: number
}

const reservation = z.object({
  lines: z.array(z.object({ sku: z.string(), quantity: z.int(), name: z.string(), priceCents: z.int() })),
})

/** Retries, a circuit breaker and a deadline are the client's own. */
export function connectCatalog(url: string, metrics: Metrics): Stock {
  const catalog = client(url, { name: 'catalog', timeoutMs: 2000, metrics })
  return {
    async reserve(id, lines) {
      const answer = await catalog.post('/reservations', { body: { id, lines }, schema: reservation, idempotent: true })
      return answer.lines
    },
    async ping(signal) {
      await catalog.get('/health/live', { signal })
    },
    [Symbol.dispose]: () => catalog[Symbol.dispose](),
  }
}
