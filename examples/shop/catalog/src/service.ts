import { problem, reply, resource, service } from '@fairlead/service'
import type { Router } from '@fairlead/service'
import { z } from 'zod'
import { ReservationRefused, openProductStore } from './store.ts'
import type { ProductStore } from './store.ts'

/** The products, their prices and their stock. */
export const catalog = service({
  name: 'catalog',
  use: {
    products: resource(({ env }) => openProductStore(env['DATA_DIR'] ?? '/data'), {
      health: (products) => products.ping(),
    }),
  },
  http: addRoutes,
})

const listQuery = z.object({
  search: z.string().trim().max(100).default(''),
  category: z.string().trim().max(50).default(''),
  sku: z.union([z.string(), z.array(z.string()).max(100)]).optional(),
  page: z.coerce.number().int().min(1).max(10_000).default(1),
  pageSize: z.coerce.number().int().min(1).max(100).default(12),
})

const reservation = z.object({
  id: z.uuid(),
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

function addRoutes(router: Router<{ readonly products: ProductStore }>): void {
  router.get('/products', { query: listQuery }, ({ query, products }) => {
    const { sku, page, pageSize, ...filter } = query
    const skus = sku === undefined ? undefined : [sku].flat()
    return { ...products.find({ ...filter, skus, limit: pageSize, offset: (page - 1) * pageSize }), page, pageSize }
  })

  router.get('/products/:sku', ({ params, products }) => {
    const product = products.get(params.sku)
    if (product === undefined) throw problem(404, `There is no product "${params.sku}"`)
    return product
  })

  router.get('/categories', ({ products }) => ({ items: products.categories() }))

  // The caller names the reservation, so that it can ask again after a broken connection without taking the goods twice.
  router.post('/reservations', { body: reservation }, ({ body, products, log }) => {
    try {
      const taken = products.reserve(body.id, body.lines)
      log.info('stock reserved', { reservation: body.id, products: body.lines.length, isNew: taken.isNew })
      return reply({ id: body.id, lines: taken.lines }, { status: taken.isNew ? 201 : 200 })
    } catch (error) {
      if (error instanceof ReservationRefused) throw problem(409, error.message, { obstacles: error.obstacles })
      throw error
    }
  })
}
