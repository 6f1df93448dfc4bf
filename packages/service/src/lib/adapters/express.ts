import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HostedApp } from '../http/hosted.ts'

/** An Express application, as far as it is looked at. */
export interface ExpressLike {
  (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void): unknown
  readonly router?: unknown
}

export interface ExpressAppOptions {
  /** Runs before the first request: `() => nest.init()`. */
  readonly start?: (() => unknown) | undefined
  /** Runs after the last: `() => nest.close()`. */
  readonly stop?: (() => unknown) | undefined
}

/** What Express puts on the request: the route in hand, and the path under which its router is mounted. */
type ExpressRequest = IncomingMessage & {
  readonly route?: { readonly path?: unknown } | undefined
  readonly baseUrl?: string | undefined
  /** The innermost application, when applications are mounted in applications. */
  readonly app?: ExpressLike | undefined
}

/**
 * Hosts an Express 5 application that does not listen itself. Telemetry names a request by its route's path, those of the
 * routers around it included. Errors and paths nobody took are answered with problem details.
 */
export function expressApp(app: ExpressLike, options: ExpressAppOptions = {}): HostedApp {
  return {
    kind: 'express',
    ...(options.start ? { start: options.start } : {}),
    ...(options.stop ? { stop: options.stop } : {}),
    handle: (request, response, _scope, next) => app(request, response, next),
    routeOf(request) {
      const { route, baseUrl = '', app: inner } = request as ExpressRequest
      const path = toTemplate(route?.path)
      if (path === undefined) return undefined
      // With the mount path as it was matched, `/orgs/acme` would be a route, and every other organisation one more.
      const mount = baseUrl === '' ? '' : (mountTemplate(app.router, baseUrl, inner?.router) ?? '*')
      return mount + (path === '/' && mount !== '' ? '' : path)
    },
  }
}

/** The part of express' `router` that says how a path was matched. */
interface Layer {
  readonly name?: string
  readonly route?: unknown
  readonly handle?: { readonly stack?: readonly Layer[]; readonly router?: unknown } | undefined
  readonly match?: (path: string) => Match | boolean
}

interface Match {
  readonly path?: unknown
  readonly params?: unknown
  readonly pattern?: unknown
}

/** The templates of the routers around a path, found as Express finds them. Undefined when it cannot be told. */
function mountTemplate(router: unknown, path: string, innermost: unknown): string | undefined {
  for (const layer of stackOf(router)) {
    // An application is mounted as a function that does not show it; the request knows which one it is.
    const within = layer.name === 'mounted_app' && innermost !== router ? innermost : layer.handle
    if (layer.route !== undefined || stackOf(within).length === 0) continue
    const found = layer.match?.(path)
    if (!found) continue
    // Before its 2.3, `router` kept what it matched on the layer.
    const match = typeof found === 'object' ? found : (layer as Match)
    if (typeof match.path !== 'string') continue
    const here = templateOf(match, match.path)
    const rest = path.slice(match.path.length)
    if (rest === '' || rest === '/') return here
    const deeper = mountTemplate(within, rest, innermost)
    if (deeper !== undefined) return here + deeper
  }
  return undefined
}

function stackOf(handle: unknown): readonly Layer[] {
  if (typeof handle !== 'function' && typeof handle !== 'object') return []
  const { stack } = (handle ?? {}) as { stack?: unknown }
  return Array.isArray(stack) ? (stack as Layer[]) : []
}

function templateOf(match: Match, path: string): string {
  if (typeof match.pattern === 'string') return match.pattern === '/' ? '' : match.pattern
  const values = new Map(Object.entries(match.params ?? {}).map(([name, value]) => [String(value), `:${name}`]))
  return path
    .split('/')
    .map((segment) => values.get(segment) ?? segment)
    .join('/')
}

/** A route can have several paths, or a regular expression. */
function toTemplate(path: unknown): string | undefined {
  if (typeof path === 'string') return path
  if (path instanceof RegExp) return String(path)
  return Array.isArray(path) ? path.map(String).join('|') : undefined
}
