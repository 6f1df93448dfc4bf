import { askedAttributes } from './access/request-attributes.ts'
import { serveIssuer } from './access/tokens/discovery.ts'
import { backupPath, serveBackup } from './backup.ts'
import { serveDiscovery } from './discovery.ts'
import type { ApiRequest, ApiResponse } from './exchange.ts'
import type { HandlerContext } from './handler-context.ts'
import { renderMetrics } from './metrics/render.ts'
import { serveMetrics } from './metrics/serve.ts'
import { serveOpenApi } from './openapi.ts'
import { respond } from './render.ts'
import { methodNotAllowed, pathNotFound } from './status.ts'
import { versionInfo } from './version.ts'

/** Paths that name no resource: discovery, health, documents, metrics. */
export async function servePath(context: HandlerContext, request: ApiRequest): Promise<ApiResponse> {
  const { method, path, identity } = request
  context.access.authorizer.check(identity, askedAttributes(method, path, request.query))
  if (method !== 'GET' && method !== 'HEAD') throw isBelowVersion(path) ? pathNotFound() : methodNotAllowed()
  if (/^\/apis?(\/|$)/.test(path)) return serveDiscovery(context.catalogue, request)
  if (path === '/version' || path === '/version/')
    return respond(200, versionInfo, { encoding: 'json', isPretty: true })
  const issuer = serveIssuer(path, context.access.issuer, context.access.key)
  if (issuer !== undefined) return issuer
  if (path === '/metrics') {
    return await serveMetrics(() => renderMetrics(context.metrics, context.store, context.catalogue))
  }
  if (path === backupPath) return serveBackup(context.store)
  if (path.startsWith('/openapi/')) return await serveOpenApi(context.openApi, context.apiServices, request)
  if (/^\/(healthz|livez|readyz)(\/|$)/.test(path)) return serveHealth(request)
  if (path === '/')
    return respond(200, {
      paths: ['/api', '/apis', '/healthz', '/livez', '/metrics', '/openapi/v3', '/readyz', '/version'],
    })
  throw pathNotFound()
}

/** Whether a path names something below a version of a group, where only resources are. */
function isBelowVersion(path: string): boolean {
  return /^\/(api|apis\/[^/]+)\/[^/]+\/[^/]/.test(path)
}

/** Whoever gets this answer has reached a server that has recovered its store: both checks have passed. */
function serveHealth({ path, query }: ApiRequest): ApiResponse {
  const [, root = '', check] = path.split('/')
  if (check !== undefined && check !== '' && !checks.includes(check)) throw pathNotFound()
  const verbose = [...checks.map((name) => `[+]${name} ok`), `${root} check passed`, ''].join('\n')
  const text = query.has('verbose') ? verbose : 'ok'
  return {
    status: 200,
    headers: { 'content-type': 'text/plain; charset=utf-8' },
    body: { pieces: [Buffer.from(text)] },
  }
}

const checks = ['ping', 'storage']
