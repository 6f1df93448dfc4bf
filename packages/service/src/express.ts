/**
 * Hosts an Express 5 application in a service: the service listens, drains and observes, Express routes and answers. A Nest
 * application is one as well: `expressApp(nest.getHttpAdapter().getInstance(), { start: () => nest.init(), stop: () => nest.close() })`.
 *
 * ```ts
 * import express from 'express'
 * import { service, start } from '@fairlead/service'
 * import { expressApp } from '@fairlead/service/express'
 *
 * const orders = express()
 * orders.get('/orders/:id', (request, response) => void response.json({ order: request.params.id }))
 *
 * await using app = await start(service({ name: 'orders', app: expressApp(orders) }), { port: 0 })
 * console.log(await (await fetch(`${app.url}/orders/7`)).json())
 * ```
 */
export { expressApp } from './lib/adapters/express.ts'
export type { ExpressAppOptions, ExpressLike } from './lib/adapters/express.ts'
