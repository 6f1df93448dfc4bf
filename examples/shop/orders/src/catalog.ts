import { client } from '@fairlead/service'
import { z } from 'zod'

/** What orders needs of the catalog. */
export interface Stock {
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

export function connectCatalog(url: string): Stock {
  const catalog = client(url, { timeoutMs: 2000 })
  return {
    async reserve(id, lines) {
      return (await catalog.json('/reservations', { body: { id, lines }, schema: reservation })).lines
    },
    async ping(signal) {
      await catalog.json('/health/live', { signal })
    },
  }
}
