import { randomUUID } from 'node:crypto'
import { CallError, problem, redirect, resource, service } from '@fairlead/service'
import type { RequestContext, Router } from '@fairlead/service'
import { defineConfig, url } from '@fairlead/service/config'
import { span } from '@fairlead/service/trace'
import { z } from 'zod'
import { serveAsset } from './assets.ts'
import { connectCatalog, connectOrders } from './backends.ts'
import type { Catalog, NewOrder, Orders } from './backends.ts'
import { parseCart, renderCart, setQuantity } from './cart.ts'
import type { Cart } from './cart.ts'
import { cartMain } from './pages/cart.ts'
import type { CartLine } from './pages/cart.ts'
import { describeFailure, failureMain } from './pages/failure.ts'
import { page } from './pages/layout.ts'
import { orderListMain, orderMain } from './pages/orders.ts'
import { productListMain, productMain } from './pages/products.ts'

interface Backends {
  readonly catalog: Catalog
  readonly orders: Orders
}

const config = defineConfig(
  {
    catalogUrl: url({ default: 'http://catalog', protocols: ['http', 'https'] }),
    ordersUrl: url({ default: 'http://orders', protocols: ['http', 'https'] }),
  },
  { env: '' },
)

const catalog = resource({ config }, (needs) => connectCatalog(needs.config.catalogUrl, needs.metrics), {
  health: (backend, signal) => backend.ping(signal),
  // The pages can be shown without, if only to say so.
  critical: false,
})
const orders = resource({ config }, (needs) => connectOrders(needs.config.ordersUrl, needs.metrics), {
  health: (backend, signal) => backend.ping(signal),
  critical: false,
})

/** The pages of the shop. */
export const web = service({
  name: 'web',
  config,
  use: { catalog, orders },
  http: addRoutes,
  onError(error, context) {
    const failure = describeFailure(error)
    const { title, status } = failure
    const headers: Record<string, string> = status === 503 ? { 'retry-after': '2' } : {}
    return page(failureMain(failure, context.requestId), { title, status, headers, cart: cartOf(context) })
  },
})

const listQuery = z.object({
  search: z.string().trim().max(100).default(''),
  category: z.string().trim().max(50).default(''),
  page: z.coerce.number().int().min(1).max(1000).catch(1),
})
const pageQuery = z.object({ page: z.coerce.number().int().min(1).max(1000).catch(1) })
const sku = z.string().regex(/^[a-z0-9-]{1,50}$/)
const cartForm = z.object({
  sku,
  add: z.coerce.number().int().min(1).max(99).optional(),
  quantity: z.coerce.number().int().min(0).max(99).optional(),
})
const orderForm = z.object({
  key: z.uuid(),
  line: z.union([z.string(), z.array(z.string()).max(50)]),
  name: z.string().trim().min(1).max(100),
  email: z.string().trim().min(3).max(200),
  address: z.string().trim().min(1).max(500),
})

function addRoutes(router: Router<Backends>): void {
  router.get('/assets/:name', ({ params }) => {
    const asset = serveAsset(params.name)
    if (asset === undefined) throw problem(404)
    return asset
  })

  router.get('/', { query: listQuery }, async (context) => {
    const { search, category } = context.query
    const [products, categories] = await Promise.all([
      context.catalog.find(context.query),
      context.catalog.categories(),
    ])
    const title = category === '' ? 'Products' : category
    return span('render products', { 'shop.products': products.items.length }, () =>
      page(productListMain({ search, category, categories, products }), {
        title,
        search,
        current: 'products',
        cart: cartOf(context),
      }),
    )
  })

  router.get('/products/:sku', async (context) => {
    const product = await context.catalog.get(context.params.sku)
    return page(productMain(product), { title: product.name, current: 'products', cart: cartOf(context) })
  })

  router.get('/cart', async (context) => {
    const cart = cartOf(context)
    const main = cartMain({ lines: await linesOf(cart, context.catalog), key: randomUUID() })
    return page(main, { title: 'Cart', current: 'cart', cart })
  })

  router.post('/cart', { body: cartForm }, (context) => {
    refuseOtherSites(context)
    const { sku: product, add, quantity } = context.body
    const cart = cartOf(context)
    const wanted = quantity ?? (cart.get(product) ?? 0) + (add ?? 1)
    return redirect('/cart', keep(setQuantity(cart, product, wanted)))
  })

  router.post('/orders', { body: orderForm }, async (context) => {
    refuseOtherSites(context)
    const { key, line, ...customer } = context.body
    try {
      const order = await context.orders.place(key, { customer, lines: [line].flat().map(parseLine) })
      return redirect(`/orders/${order.id}?new`, keep(new Map()))
    } catch (error) {
      const complaint = complaintOf(error)
      if (complaint === undefined) throw error
      const cart = cartOf(context)
      // A new key: what the visitor sends next is another order.
      const main = cartMain({
        lines: await linesOf(cart, context.catalog),
        key: randomUUID(),
        form: customer,
        complaint,
      })
      return page(main, { title: 'Cart', current: 'cart', cart, status: 409 })
    }
  })

  router.get('/orders', { query: pageQuery }, async (context) => {
    const main = orderListMain(await context.orders.list(context.query.page))
    return page(main, { title: 'Orders', current: 'orders', cart: cartOf(context) })
  })

  router.get('/orders/:id', async (context) => {
    const order = await context.orders.get(context.params.id)
    const main = orderMain(order, context.query.has('new'))
    return page(main, { title: 'Order', current: 'orders', cart: cartOf(context) })
  })
}

function cartOf(context: RequestContext): Cart {
  return parseCart(context.node.request.headers.cookie ?? null)
}

/** Headers that make the browser keep this cart. */
function keep(cart: Cart): { readonly headers: { readonly 'set-cookie': string } } {
  return { headers: { 'set-cookie': renderCart(cart) } }
}

/** Cart lines with their products; what the catalog no longer has is left out. */
async function linesOf(cart: Cart, products: Catalog): Promise<readonly CartLine[]> {
  const found = await products.getMany([...cart.keys()])
  return cart
    .entries()
    .toArray()
    .flatMap(([wanted, quantity]) => {
      const product = found.find((candidate) => candidate.sku === wanted)
      return product === undefined ? [] : [{ product, quantity }]
    })
}

/** What was shown to the visitor: the product, how many, at which price. */
function parseLine(text: string): NewOrder['lines'][number] {
  const [, product, quantity, priceCents] = /^([a-z0-9-]{1,50})~(\d{1,2})~(\d{1,9})$/.exec(text) ?? []
  if (product === undefined) throw problem(422, 'The form is not one of this shop')
  return { sku: product, quantity: Number(quantity), priceCents: Number(priceCents) }
}

/** Undefined for what the visitor cannot mend. */
function complaintOf(error: unknown): string | undefined {
  if (!(error instanceof CallError)) return undefined
  if (error.status === 409)
    return `We could not take this order: ${error.detail ?? 'something has changed'}. Please look at your cart again.`
  return error.status === 422 ? 'We could not take this order: please look at the email address.' : undefined
}

/** Forms of other sites must not order here. Browsers say where a request comes from; what says nothing is no browser. */
function refuseOtherSites({ node }: RequestContext): void {
  const site = node.request.headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none')
    throw problem(403, 'This form was sent by another site')
}
