/**
 * The cloud-native runtime of a service: one definition gives health, metrics, logs, traces and a stop that loses nothing.
 *
 * ```ts
 * import { resource, service, start } from '@fairlead/service'
 *
 * const greetings = resource(() => new Map([['world', 'hello']]))
 * const greeter = service({
 *   name: 'greeter',
 *   use: { greetings },
 *   http: (router) => router.get('/:name', ({ params, greetings }) => ({ greeting: greetings.get(params.name) ?? 'hm' })),
 * })
 *
 * await using app = await start(greeter, { port: 0 })
 * console.log(await (await fetch(`${app.url}/world`)).json())
 * ```
 */
export { service } from './lib/service/definition.ts'
export type { Service, ServiceCheck, ServiceDefinition } from './lib/service/definition.ts'
export type { RequestRateLimit } from './lib/service/rate-limit.ts'
export { run } from './lib/service/run.ts'
export { start } from './lib/service/start.ts'
export type { App, StartOptions, StopOptions } from './lib/service/start.ts'
export { resource } from './lib/lifecycle/resource.ts'
export type { Resource, ResourceMap, ResourceOptions, ResourceValues, StartContext } from './lib/lifecycle/resource.ts'
export { CallError } from './lib/client/call-error.ts'
export { client } from './lib/client/client.ts'
export type { Client } from './lib/client/client.ts'
export { HttpError, problem } from './lib/http/problem.ts'
export { html, redirect, reply } from './lib/http/reply.ts'
export type { RequestContext } from './lib/http/context.ts'
export type { Router } from './lib/http/router.ts'
export type { Logger } from './lib/log/logger.ts'
export type { ServiceError } from './lib/errors.ts'
