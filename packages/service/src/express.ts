/**
 * Hosts an Express 5 application in a service: the service listens, drains and observes, Express routes and answers. A Nest
 * application is one as well: `expressApp(nest.getHttpAdapter().getInstance(), { start: () => nest.init(), stop: () => nest.close() })`.
 *
 * ```ts
 * import express from 'express'
 * import { expressApp } from '@fairlead/service/express'
 * import { createDrainableServer, createHandler } from '@fairlead/service/http'
 * import { createLogger } from '@fairlead/service/log'
 *
 * const orders = express()
 * orders.get('/orders/:id', (request, response) => void response.json({ order: request.params.id }))
 * const server = createDrainableServer(createHandler({ app: expressApp(orders), log: createLogger() }))
 * const port = await server.listen(0, '127.0.0.1')
 * console.log(await (await fetch(`http://127.0.0.1:${port}/orders/7`)).json())
 * server.closeAll()
 * ```
 */
export { expressApp } from './lib/adapters/express.ts'
export type { ExpressAppOptions, ExpressLike } from './lib/adapters/express.ts'
