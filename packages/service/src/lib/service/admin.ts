import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Debug } from '../debug/endpoints.ts'
import { findHealthEndpoint, healthJsonType, healthPaths, toHealthJson } from '../health/endpoints.ts'
import { isReady } from '../health/health.ts'
import type { Health } from '../health/health.ts'
import { html, reply } from '../http/reply.ts'
import type { Reply } from '../http/reply.ts'
import { send } from '../http/send.ts'
import { exposeMetrics } from '../metrics/expose.ts'
import type { Metrics } from '../metrics/metrics.ts'

/** What answers a request of node:http. */
export type Listener = (request: IncomingMessage, response: ServerResponse) => void

const headers = { 'cache-control': 'no-store' }

/**
 * Serves health and metrics, and hands everything else to `next`. These requests are neither counted nor logged: they
 * would drown the traffic they are there to watch.
 */
export function createAdminListener(health: Health, metrics: Metrics, next: Listener): Listener {
  return (request, response) => {
    const answer =
      request.method === 'GET' || request.method === 'HEAD' ? findAnswer(request, health, metrics) : undefined
    if (answer === undefined) next(request, response)
    else
      void answer.then(
        (found) => send(response, found),
        // A gauge's callback that throws, say. A probe must get an answer all the same.
        () => send(response, reply({ status: 500, title: 'Internal Server Error' }, { status: 500, headers })),
      )
  }
}

/** What the admin port has besides health and metrics: debug endpoints if there are any, and an index of it all at `/`. */
export function createAdminRest(debug?: Debug): Listener {
  const paths = ['/metrics', ...healthPaths()].map((path) => `GET ${path}`).concat(debug?.paths ?? [])
  return (request, response) => {
    if (debug?.handle(request, response)) return
    const [path] = (request.url ?? '/').split('?', 1)
    const isIndex = path === '/' && (request.method === 'GET' || request.method === 'HEAD')
    void send(
      response,
      isIndex && wantsHtml(request) ? renderIndex(paths) : reply({ paths }, { status: isIndex ? 200 : 404, headers }),
    )
  }
}

function renderIndex(paths: readonly string[]): Reply {
  const items = paths.map((entry) => {
    const [method = '', path = ''] = entry.split(' ')
    return `<li>${method === 'GET' ? `<a href="${path}">${path}</a>` : `${method} ${path}`}</li>`
  })
  return html(`<!doctype html><meta charset="utf-8"><title>Admin</title><ul>${items.join('')}</ul>`, { headers })
}

function wantsHtml({ headers: { accept } }: IncomingMessage): boolean {
  return accept?.includes('text/html') ?? false
}

function findAnswer(request: IncomingMessage, health: Health, metrics: Metrics): Promise<Reply> | undefined {
  const { url = '/' } = request
  const end = url.indexOf('?')
  const path = end === -1 ? url : url.slice(0, end)
  if (path === '/metrics') {
    return exposeMetrics(metrics, request.headers).then((answer) =>
      reply(answer.body, { headers: { ...headers, ...answer.headers } }),
    )
  }
  if (path === '/health' && request.headers.accept?.includes(healthJsonType)) return answerHealthJson(health)
  return findHealthEndpoint(path)?.(health).then(({ status, body }) => reply(body, { status, headers }))
}

async function answerHealthJson(health: Health): Promise<Reply> {
  const report = await health.report()
  return reply(JSON.stringify(toHealthJson(report)), {
    status: isReady(report.status) ? 200 : 503,
    headers: { ...headers, 'content-type': healthJsonType },
  })
}
