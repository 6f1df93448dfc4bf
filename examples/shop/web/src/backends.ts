import { client } from '@fairlead/service'
import type { Metrics } from '@fairlead/service/metrics'
import { z } from 'zod'

const product = z.object({
  sku: z.string(),
  name: z.string(),
  description: z.string(),
  category: z.string(),
  picture: z.string(),
  priceCents: z.int(),
  stock: z.int(),
})
const productPage = z.object({ items: z.array(product), total: z.int(), page: z.int(), pageSize: z.int() })
const categories = z.object({ items: z.array(z.string()) })
const order = z.object({
  id: z.string(),
  status: z.enum(['pending', 'confirmed', 'rejected']),
  customer: z.object({ name: z.string(), email: z.string(), address: z.string() }),
  lines: z.array(z.object({ sku: z.string(), name: z.string(), quantity: z.int(), priceCents: z.int() })),
  totalCents: z.int(),
  createdAt: z.string(),
})
const orderPage = z.object({ items: z.array(order), total: z.int(), page: z.int(), pageSize: z.int() })

export type Product = z.infer<typeof product>
export type ProductPage = z.infer<typeof productPage>
export type Order = z.infer<typeof order>
export type OrderPage = z.infer<typeof orderPage>

export interface NewOrder {
  readonly customer: { readonly name: string; readonly email: string; readonly address: string }
  readonly lines: readonly { readonly sku: string; readonly quantity: number; readonly priceCents: number }[]
}

/** The catalog as the pages need it. Every call throws a CallError when there is no good answer in time. */
export interface Catalog extends Disposable {
  find(query: { readonly search: string; readonly category: string; readonly page: number }): Promise<ProductPage>
  get(sku: string): Promise<Product>
  getMany(skus: readonly string[]): Promise<readonly Product[]>
  categories(): Promise<readonly string[]>
  ping(signal: AbortSignal): Promise<unknown>
}

export interface Orders extends Disposable {
  place(key: string, order: NewOrder): Promise<Order>
  get(id: string): Promise<Order>
  list(page: number): Promise<OrderPage>
  ping(signal: AbortSignal): Promise<unknown>
}

export function connectCatalog(url: string, metrics: Metrics): Catalog {
  const http = client(url, { name: 'catalog', timeoutMs: 2000, metrics })
  return {
    find: (query) => http.get('/products', { query: { ...query, pageSize: 12 }, schema: productPage }),
    get: (sku) => http.get(`/products/${encodeURIComponent(sku)}`, { schema: product }),
    async getMany(skus) {
      if (skus.length === 0) return []
      const query = new URLSearchParams([['pageSize', '100'], ...skus.map((sku) => ['sku', sku] as [string, string])])
      return (await http.get(`/products?${query.toString()}`, { schema: productPage })).items
    },
    async categories() {
      return (await http.get('/categories', { schema: categories })).items
    },
    ping: (signal) => http.get('/health/live', { signal }),
    [Symbol.dispose]: () => http[Symbol.dispose](),
  }
}

export function connectOrders(url: string, metrics: Metrics): Orders {
  const http = client(url, { name: 'orders', timeoutMs: 4000, metrics })
  return {
    place: (key, body) => http.post('/orders', { body, headers: { 'idempotency-key': key }, schema: order }),
    get: (id) => http.get(`/orders/${encodeURIComponent(id)}`, { schema: order }),
    list: (page) => http.get('/orders', { query: { page, pageSize: 20 }, schema: orderPage }),
    ping: (signal) => http.get('/health/live', { signal }),
    [Symbol.dispose]: () => http[Symbol.dispose](),
  }
}
