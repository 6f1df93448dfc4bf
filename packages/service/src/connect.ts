/**
 * Hosts Connect-RPC services: the protocols Connect, gRPC-web and gRPC on one port, with `grpc.health.v1` and, if asked for,
 * reflection.
 *
 * ```ts
 * import { connectApp } from '@fairlead/service/connect'
 * import { createDrainableServer, createHandler } from '@fairlead/service/http'
 * import { createLogger } from '@fairlead/service/log'
 *
 * // Here stand the services: (router) => router.service(GreetService, { greet: ({ name }) => ({ text: `hello ${name}` }) })
 * const app = connectApp(() => {})
 * const log = createLogger()
 * await app.start?.({ log, isReady: () => true })
 * const server = createDrainableServer(createHandler({ app, log }))
 * const port = await server.listen(0, '127.0.0.1')
 * const check = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }
 * console.log(await (await fetch(`http://127.0.0.1:${port}/grpc.health.v1.Health/Check`, check)).json())
 * server.closeAll()
 * ```
 */
export { connectApp } from './lib/adapters/connect.ts'
export type { ConnectAppOptions } from './lib/adapters/connect.ts'
