/**
 * Hosts a Hono application in a service: the service listens, drains and observes, Hono routes and answers.
 *
 * ```ts
 * import { Hono } from 'hono'
 * import { service, start } from '@fairlead/service'
 * import { honoApp } from '@fairlead/service/hono'
 *
 * const orders = new Hono()
 * orders.get('/orders/:id', (context) => context.json({ order: context.req.param('id') }))
 *
 * await using app = await start(service({ name: 'orders', app: honoApp(orders) }), { port: 0 })
 * console.log(await (await fetch(`${app.url}/orders/7`)).json())
 * ```
 */
export { honoApp } from './lib/adapters/hono.ts'
export type { HonoAppOptions, HonoBindings, HonoLike } from './lib/adapters/hono.ts'
