import { createHash, randomUUID } from 'node:crypto'
import { CallError } from '@fairlead/service'
import type { Logger } from '@fairlead/service'
import { span } from '@fairlead/service/trace'
import type { OrderedLine, Stock } from './catalog.ts'
import type { Customer, Order, OrderStore } from './store.ts'

interface DeskNeeds {
  readonly store: OrderStore
  readonly stock: Stock
  readonly log: Logger
}

interface NewOrder {
  readonly customer: Customer
  readonly lines: readonly OrderedLine[]
}

/** The catalog does not have what is ordered, or not at that price. */
export class OrderRefused extends Error {
  override readonly name = 'OrderRefused'
}

/** The catalog does not answer. The order is kept as pending: placing it again with the same key goes on where this stopped. */
export class CatalogUnavailable extends Error {
  override readonly name = 'CatalogUnavailable'
}

/** The key belongs to another order. */
export class KeyReused extends Error {
  override readonly name = 'KeyReused'
}

export interface OrderDesk {
  /**
   * Places an order once per key.
   *
   * @throws {OrderRefused | CatalogUnavailable | KeyReused}
   */
  place(key: string, order: NewOrder): Promise<{ readonly order: Order; readonly isNew: boolean }>
}

/**
 * An order is written down before stock is taken, and stock is taken under the order's id: whatever breaks in between, the
 * same request sent again ends in one order and one reservation.
 */
export function createOrderDesk({ store, stock, log }: DeskNeeds): OrderDesk {
  return {
    place: (key, wanted) =>
      span('place order', { 'order.lines': wanted.lines.length }, async (placing) => {
        const fingerprint = createHash('sha256').update(JSON.stringify(wanted)).digest('hex')
        const kept = store.begin({ id: randomUUID(), key, fingerprint, customer: wanted.customer })
        placing.setAttribute('order.id', kept.order.id)
        if (kept.fingerprint !== fingerprint) throw new KeyReused('The Idempotency-Key was used for another order')
        if (kept.order.status === 'confirmed') return { order: kept.order, isNew: false }
        if (kept.order.status === 'rejected') throw new OrderRefused(kept.order.note ?? 'The order was rejected')
        try {
          const lines = await stock.reserve(kept.order.id, wanted.lines)
          const order = store.confirm(kept.order.id, lines)
          log.info('order placed', { order: order.id, lines: lines.length, total_cents: order.totalCents })
          return { order, isNew: true }
        } catch (error) {
          if (!(error instanceof CallError)) throw error
          if (error.status !== 409)
            throw new CatalogUnavailable('The catalog does not answer, please try again', { cause: error })
          store.reject(kept.order.id, error.detail ?? 'The catalog refused')
          throw new OrderRefused(error.detail ?? 'The catalog refused', { cause: error })
        }
      }),
  }
}
