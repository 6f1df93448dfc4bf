/**
 * Hosts a Fastify application in a service: the service listens, drains and observes, Fastify routes and answers.
 *
 * ```ts
 * import fastify from 'fastify'
 * import { fastifyApp } from '@fairlead/service/fastify'
 * import { createDrainableServer, createHandler } from '@fairlead/service/http'
 * import { createLogger } from '@fairlead/service/log'
 *
 * const orders = fastify()
 * orders.get('/orders/:id', (request) => ({ order: request.params }))
 * const app = fastifyApp(orders)
 * const log = createLogger()
 * await app.start?.({ log, isReady: () => true })
 * const server = createDrainableServer(
 *   createHandler({ app, log, onServed: ({ route, status }) => log.info('served', { route, status }) }),
 * )
 * const port = await server.listen(0, '127.0.0.1')
 * console.log(await (await fetch(`http://127.0.0.1:${port}/orders/7`)).json())
 * server.closeAll()
 * await app.stop?.()
 * ```
 */
export { fastifyApp } from './lib/adapters/fastify.ts'
export type { FastifyAppOptions } from './lib/adapters/fastify.ts'
