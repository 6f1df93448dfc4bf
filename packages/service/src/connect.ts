/**
 * Hosts Connect-RPC services: the protocols Connect, gRPC-web and gRPC on one port, with `grpc.health.v1` and, if asked for,
 * reflection.
 *
 * ```ts
 * import { service, start } from '@fairlead/service'
 * import { connectApp } from '@fairlead/service/connect'
 *
 * // Here stand the services: (router) => router.service(GreetService, { greet: ({ name }) => ({ text: `hello ${name}` }) })
 * await using app = await start(service({ name: 'greeter', http2: true, app: connectApp(() => {}) }), { port: 0 })
 * const check = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }
 * console.log(await (await fetch(`${app.url}/grpc.health.v1.Health/Check`, check)).json())
 * ```
 */
export { connectApp } from './lib/adapters/connect.ts'
export type { ConnectAppOptions } from './lib/adapters/connect.ts'
