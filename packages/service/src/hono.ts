/**
 * Hosts a Hono application in a service: the service listens, drains and observes, Hono routes and answers.
 *
 * ```ts
 * import { Hono } from 'hono'
 * import { honoApp } from '@fairlead/service/hono'
 * import { createDrainableServer, createHandler } from '@fairlead/service/http'
 * import { createLogger } from '@fairlead/service/log'
 *
 * const orders = new Hono()
 * orders.get('/orders/:id', (context) => context.json({ order: context.req.param('id') }))
 * const server = createDrainableServer(createHandler({ app: honoApp(orders), log: createLogger() }))
 * const port = await server.listen(0, '127.0.0.1')
 * console.log(await (await fetch(`http://127.0.0.1:${port}/orders/7`)).json())
 * server.closeAll()
 * ```
 */
export { honoApp } from './lib/adapters/hono.ts'
export type { HonoAppOptions, HonoBindings, HonoLike } from './lib/adapters/hono.ts'
