import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HostedApp, HostedScope } from '../http/hosted.ts'
import { createRequest } from '../http/request.ts'
import { send } from '../http/send.ts'

/** A Hono application, as far as it is looked at. */
export interface HonoLike {
  readonly fetch: (request: Request, bindings: HonoBindings) => Response | Promise<Response>
  readonly router: { match(method: string, path: string): readonly unknown[] }
}

/** What handlers find in `c.env`. The first two are those of @hono/node-server, so `getConnInfo` works. */
export interface HonoBindings {
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
  readonly scope: HostedScope
}

export interface HonoAppOptions {
  readonly start?: (() => unknown) | undefined
  readonly stop?: (() => unknown) | undefined
  /** Default: the service's own limit, 1 MiB. */
  readonly bodyLimitBytes?: number | undefined
}

/**
 * Hosts a Hono application. Telemetry names a request by the path of the last route that matched it. Unknown paths and errors are
 * answered by the application's `notFound` and `onError`; tell telemetry of the latter with `recordError(error)`.
 */
export function honoApp(app: HonoLike, options: HonoAppOptions = {}): HostedApp {
  let limitBytes = options.bodyLimitBytes ?? 1024 * 1024
  return {
    kind: 'hono',
    async start(host) {
      limitBytes = options.bodyLimitBytes ?? host.bodyLimitBytes ?? limitBytes
      await options.start?.()
    },
    ...(options.stop ? { stop: options.stop } : {}),
    async handle(request, response, scope) {
      const answer = await app.fetch(
        createRequest(request, limitBytes, () => scope.signal),
        { incoming: request, outgoing: response, scope },
      )
      await send(response, answer, scope.requestId)
    },
    routeOf: (request) => findTemplate(app, request),
  }
}

/** Asked when the request is over: Hono tells handlers what matched, and nobody else. */
function findTemplate(app: HonoLike, request: IncomingMessage): string | undefined {
  const method = request.method === 'HEAD' ? 'GET' : (request.method ?? 'GET')
  const [path = '/'] = (request.url ?? '/').split('?', 1)
  const [handlers] = app.router.match(method, path)
  if (!Array.isArray(handlers)) return undefined
  // Each is [[handler, route], parameters]. Middleware for everything is not what answered.
  const templates = handlers.flatMap((entry: unknown) => pathOf(entry) ?? [])
  return templates.at(-1)
}

function pathOf(entry: unknown): string | undefined {
  const route: unknown = Array.isArray(entry) && Array.isArray(entry[0]) ? entry[0][1] : undefined
  if (typeof route !== 'object' || route === null || !('path' in route) || typeof route.path !== 'string')
    return undefined
  const isForAll = 'method' in route && route.method === 'ALL' && /^\/?\*$/.test(route.path)
  return isForAll ? undefined : route.path
}
