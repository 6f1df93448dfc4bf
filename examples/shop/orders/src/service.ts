import { randomUUID } from 'node:crypto'
import { problem, reply, resource, service } from '@fairlead/service'
import type { Router } from '@fairlead/service'
import { z } from 'zod'
import { connectCatalog } from './catalog.ts'
import { CatalogUnavailable, KeyReused, OrderRefused, createOrderDesk } from './desk.ts'
import type { OrderDesk } from './desk.ts'
import { openOrderStore } from './store.ts'
import type { OrderStore } from './store.ts'

const store = resource(({ env }) => openOrderStore(env['DATA_DIR'] ?? '/data'), { health: (db) => db.ping() })
const stock = resource(({ env }) => connectCatalog(env['CATALOG_URL'] ?? 'http://catalog'), {
  health: (catalog, signal) => catalog.ping(signal),
  // Without it no order can be placed, but those there are can be looked at.
  critical: false,
})
const desk = resource({ store, stock }, (needs) => createOrderDesk(needs.store, needs.stock))

/** Takes orders and keeps them. */
export const orders = service({ name: 'orders', use: { store, stock, desk }, http: addRoutes })

const newOrder = z.object({
  customer: z.object({
    name: z.string().trim().min(1).max(100),
    email: z.email().max(200),
    address: z.string().trim().min(1).max(500),
  }),
  lines: z
    .array(
      z.object({
        sku: z.string().min(1).max(50),
        quantity: z.int().min(1).max(99),
        priceCents: z.int().positive().optional(),
      }),
    )
    .min(1)
    .max(50)
    .refine((lines) => new Set(lines.map(({ sku }) => sku)).size === lines.length, 'a product appears twice'),
})

const page = z.object({
  page: z.coerce.number().int().min(1).max(10_000).default(1),
  pageSize: z.coerce.number().int().min(1).max(100).default(20),
})

function addRoutes(router: Router<{ readonly store: OrderStore; readonly desk: OrderDesk }>): void {
  // The key makes a repeated request one order (draft-ietf-httpapi-idempotency-key-header).
  router.post('/orders', { body: newOrder }, async ({ body, desk, node, log }) => {
    const key = idempotencyKey(node.request.headers['idempotency-key'])
    try {
      const { order, isNew } = await desk.place(key, body)
      if (isNew) log.info('order placed', { order: order.id, lines: order.lines.length, total_cents: order.totalCents })
      return reply(order, { status: isNew ? 201 : 200, headers: { location: `/orders/${order.id}` } })
    } catch (error) {
      if (error instanceof OrderRefused) throw problem(409, error.message)
      if (error instanceof KeyReused) throw problem(422, error.message)
      if (error instanceof CatalogUnavailable) throw problem(503, error.message)
      throw error
    }
  })

  router.get('/orders', { query: page }, ({ query, store }) => ({
    ...store.list(query.pageSize, (query.page - 1) * query.pageSize),
    ...query,
  }))

  router.get('/orders/:id', ({ params, store }) => {
    const order = store.get(params.id)
    if (order === undefined) throw problem(404, `There is no order "${params.id}"`)
    return order
  })
}

function idempotencyKey(header: string | string[] | undefined): string {
  if (header === undefined) return randomUUID()
  if (typeof header !== 'string' || !/^[\w-]{8,100}$/.test(header)) {
    throw problem(400, 'The Idempotency-Key is not 8 to 100 letters, digits, "-" and "_"')
  }
  return header
}
