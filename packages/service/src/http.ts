/**
 * The HTTP host: routes and Web-standard handlers on node:http, and a server that drains.
 *
 * ```ts
 * import { createDrainableServer, createHandler, createRouteTable } from '@fairlead/service/http'
 * import { createLogger } from '@fairlead/service/log'
 *
 * const table = createRouteTable()
 * table.router.get('/hello/:name', ({ params }) => ({ hello: params.name }))
 * const server = createDrainableServer(createHandler({ match: table.match, log: createLogger() }))
 * const port = await server.listen(0, '127.0.0.1')
 * console.log(await (await fetch(`http://127.0.0.1:${port}/hello/world`)).json())
 * server.closeAll()
 * ```
 */
export { createHandler } from './lib/http/handler.ts'
export type { HandlerOptions, ServedRequest } from './lib/http/handler.ts'
export type { TraceReader } from './lib/http/exchange.ts'
export type { PathParams, RequestContext, RouteContext, RouteDocumentation, RouteSchemas } from './lib/http/context.ts'
export { listenerApp, recordError } from './lib/http/hosted.ts'
export type { HostContext, HostedApp, HostedScope, ListenerOptions } from './lib/http/hosted.ts'
export { HttpError, problem } from './lib/http/problem.ts'
export { html, redirect, reply } from './lib/http/reply.ts'
export type { Reply, ReplyOptions } from './lib/http/reply.ts'
export { createRouteTable } from './lib/http/router.ts'
export type { AddRoute, Route, RouteMatch, Router, RouteTable } from './lib/http/router.ts'
export type { SchemaOutput, StandardIssue, StandardResult, StandardSchema } from './lib/http/schema.ts'
export { createDrainableServer } from './lib/http/server.ts'
export type { DrainableServer } from './lib/http/server.ts'
export type { Refusal, ServerLimits, ServerOptions, ServerTls } from './lib/http/server-options.ts'
export { drain } from './lib/service/drain.ts'
export type { Drained, DrainHook, DrainOptions } from './lib/service/drain.ts'
export { events } from './lib/http/sse.ts'
export type { EventsOptions, EventSourceItem, EventStream, ServerEvent } from './lib/http/sse.ts'
