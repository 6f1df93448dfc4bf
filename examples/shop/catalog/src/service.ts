import { problem, reply, resource, service } from '@fairlead/service'
import type { Router } from '@fairlead/service'
import { defineConfig, text } from '@fairlead/service/config'
import { span } from '@fairlead/service/trace'
import { z } from 'zod'
import { ReservationRefused, openProductStore } from './store.ts'
import type { ProductStore } from './store.ts'

const config = defineConfig(
  { dataDir: text({ default: '/data', help: 'Where the database file is; must be writable.' }) },
  { env: '' },
)

/** The products, their prices and their stock. */
export const catalog = service({
  name: 'catalog',
  config,
  use: {
    products: resource({ config }, (needs) => openProductStore(needs.config.dataDir), {
      health: (products) => products.ping(),
    }),
  },
  openapi: { title: 'Catalog of the shop', description: 'Products, prices and stock.' },
  http: addRoutes,
})

const product = z
  .object({
    sku: z.string(),
    name: z.string(),
    description: z.string(),
    category: z.string(),
    picture: z.string(),
    priceCents: z.int(),
    stock: z.int(),
  })
  .meta({ id: 'Product' })
const productPage = z.object({ items: z.array(product), total: z.int(), page: z.int(), pageSize: z.int() })

const listQuery = z.object({
  search: z.string().trim().max(100).default(''),
  category: z.string().trim().max(50).default(''),
  sku: z.union([z.string(), z.array(z.string()).max(100)]).optional(),
  page: z.coerce.number().int().min(1).max(10_000).default(1),
  pageSize: z.coerce.number().int().min(1).max(100).default(12),
})

const reservation = z.object({
  // The caller names the reservation, so that it can ask again after a broken connection without taking the goods twice.
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

const reserved = z.object({
  id: z.uuid(),
  lines: z.array(z.object({ sku: z.string(), quantity: z.int(), name: z.string(), priceCents: z.int() })),
})

function addRoutes(router: Router<{ readonly products: ProductStore }>): void {
  router.get('/products', { query: listQuery, response: { 200: productPage } }, ({ query, products }) => {
    const { sku, page, pageSize, ...filter } = query
    const skus = sku === undefined ? undefined : [sku].flat()
    return { ...products.find({ ...filter, skus, limit: pageSize, offset: (page - 1) * pageSize }), page, pageSize }
  })

  router.get('/products/:sku', { response: { 200: product } }, ({ params, products }) => {
    const found = products.get(params.sku)
    if (found === undefined) throw problem(404, `There is no product "${params.sku}"`)
    return found
  })

  router.get('/categories', ({ products }) => ({ items: products.categories() }))

  const taking = { body: reservation, response: { 200: reserved, 201: reserved } }
  router.post('/reservations', taking, ({ body, products, log }) => {
    try {
      const taken = span('reserve stock', { 'db.system.name': 'sqlite' }, () => products.reserve(body.id, body.lines))
      log.info('stock reserved', { reservation: body.id, products: body.lines.length, isNew: taken.isNew })
      return reply({ id: body.id, lines: taken.lines }, { status: taken.isNew ? 201 : 200 })
    } catch (error) {
      if (error instanceof ReservationRefused) throw problem(409, error.message, { obstacles: error.obstacles })
      throw error
    }
  })
}
