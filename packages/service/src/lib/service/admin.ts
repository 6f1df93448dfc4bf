import type { IncomingMessage, ServerResponse } from 'node:http'
import { findHealthEndpoint } from '../health/endpoints.ts'
import type { Health } from '../health/health.ts'
import { reply } from '../http/reply.ts'
import type { Reply } from '../http/reply.ts'
import { send } from '../http/send.ts'
import { exposeMetrics } from '../metrics/expose.ts'
import type { Metrics } from '../metrics/metrics.ts'

type Listener = (request: IncomingMessage, response: ServerResponse) => void

/**
 * Serves health and metrics, and hands everything else to `next`. These requests are neither counted nor logged: they
 * would drown the traffic they are there to watch.
 */
export function createAdminListener(health: Health, metrics: Metrics, next: Listener): Listener {
  return (request, response) => {
    const answer =
      request.method === 'GET' || request.method === 'HEAD' ? findAnswer(request, health, metrics) : undefined
    if (answer === undefined) next(request, response)
    else void answer.then((found) => send(response, found))
  }
}

/** Answers 404; what the admin port has for other paths. */
export function answerNotFound(_request: IncomingMessage, response: ServerResponse): void {
  void send(response, reply({ paths: ['/health', '/health/live', '/health/ready', '/metrics'] }, { status: 404 }))
}

function findAnswer(request: IncomingMessage, health: Health, metrics: Metrics): Promise<Reply> | undefined {
  const [path = '/'] = (request.url ?? '/').split('?', 1)
  const headers = { 'cache-control': 'no-store' }
  if (path === '/metrics') {
    return exposeMetrics(metrics, request.headers).then((answer) =>
      reply(answer.body, { headers: { ...headers, ...answer.headers } }),
    )
  }
  return findHealthEndpoint(path)?.(health).then(({ status, body }) => reply(body, { status, headers }))
}
