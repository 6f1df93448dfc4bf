import { randomUUID } from 'node:crypto'
import { HttpError, problem, reply, resource, service } from '@fairlead/service'
import type { Router } from '@fairlead/service'
import { defineConfig, text, url } from '@fairlead/service/config'
import { z } from 'zod'
import { connectCatalog } from './catalog.ts'
import { CatalogUnavailable, KeyReused, OrderRefused, createOrderDesk } from './desk.ts'
import type { OrderDesk } from './desk.ts'
import { openOrderStore } from './store.ts'
import type { OrderStore } from './store.ts'

const config = defineConfig(
  {
    dataDir: text({ default: '/data', help: 'Where the database file is; must be writable.' }),
    catalogUrl: url({ default: 'http://catalog', protocols: ['http', 'https'] }),
  },
  { env: '' },
)

const store = resource({ config }, (needs) => openOrderStore(needs.config.dataDir), { health: (db) => db.ping() })
const stock = resource({ config }, (needs) => connectCatalog(needs.config.catalogUrl, needs.metrics), {
  health: (catalog, signal) => catalog.ping(signal),
  // Without it no order can be placed, but those there are can be looked at.
  critical: false,
})
const desk = resource({ store, stock }, (needs) => createOrderDesk({ ...needs, log: needs.log.named('desk') }))

/** Takes orders and keeps them. */
export const orders = service({
  name: 'orders',
  config,
  use: { store, stock, desk },
  openapi: { title: 'Orders of the shop', description: 'Placing an order, once per key, and looking at it.' },
  http: addRoutes,
})

const customer = z.object({
  name: z.string().trim().min(1).max(100),
  email: z.email().max(200),
  address: z.string().trim().min(1).max(500),
})

const newOrder = z.object({
  customer,
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

const order = z
  .object({
    id: z.uuid(),
    status: z.enum(['pending', 'confirmed', 'rejected']),
    customer,
    lines: z.array(z.object({ sku: z.string(), name: z.string(), quantity: z.int(), priceCents: z.int() })),
    totalCents: z.int(),
    note: z.string().optional(),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'Order' })

const page = z.object({
  page: z.coerce.number().int().min(1).max(10_000).default(1),
  pageSize: z.coerce.number().int().min(1).max(100).default(20),
})

function addRoutes(router: Router<{ readonly store: OrderStore; readonly desk: OrderDesk }>): void {
  // The key makes a repeated request one order (draft-ietf-httpapi-idempotency-key-header).
  const placing = { body: newOrder, response: { 200: order, 201: order } }
  router.post('/orders', placing, async ({ body, desk, node }) => {
    const key = idempotencyKey(node.request.headers['idempotency-key'])
    try {
      const { order: placed, isNew } = await desk.place(key, body)
      return reply(placed, { status: isNew ? 201 : 200, headers: { location: `/orders/${placed.id}` } })
    } catch (error) {
      if (error instanceof OrderRefused) throw problem(409, error.message)
      if (error instanceof KeyReused) throw problem(422, error.message)
      // The cause is for the log, which then says what was wrong with the call.
      if (error instanceof CatalogUnavailable)
        throw new HttpError(503, error.message, { headers: { 'retry-after': '5' }, cause: error })
      throw error
    }
  })

  const listing = { query: page, response: { 200: page.extend({ items: z.array(order), total: z.int() }) } }
  router.get('/orders', listing, ({ query, store }) => ({
    ...store.list(query.pageSize, (query.page - 1) * query.pageSize),
    ...query,
  }))

  router.get('/orders/:id', { response: { 200: order } }, ({ params, store }) => {
    const found = store.get(params.id)
    if (found === undefined) throw problem(404, `There is no order "${params.id}"`)
    return found
  })
}

function idempotencyKey(header: string | string[] | undefined): string {
  if (header === undefined) return randomUUID()
  if (typeof header !== 'string' || !/^[\w-]{8,100}$/.test(header)) {
    throw problem(400, 'The Idempotency-Key is not 8 to 100 letters, digits, "-" and "_"')
  }
  return header
}
