/**
 * Hosts a Fastify application in a service: the service listens, drains and observes, Fastify routes and answers.
 *
 * ```ts
 * import fastify from 'fastify'
 * import { service, start } from '@fairlead/service'
 * import { fastifyApp } from '@fairlead/service/fastify'
 *
 * const orders = fastify()
 * orders.get('/orders/:id', (request) => ({ order: request.params }))
 *
 * await using app = await start(service({ name: 'orders', app: fastifyApp(orders) }), { port: 0 })
 * console.log(await (await fetch(`${app.url}/orders/7`)).json())
 * ```
 */
export { fastifyApp } from './lib/adapters/fastify.ts'
export type { FastifyAppOptions } from './lib/adapters/fastify.ts'
