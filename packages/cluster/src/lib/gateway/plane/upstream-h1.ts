import type { IncomingHttpHeaders } from 'node:http'
import { Pool } from 'undici'
import type { buildConnector, Dispatcher } from 'undici'
import type { Cluster } from '../model.ts'
import { tlsOptions } from './upstream-tls.ts'
import { bodyTimeoutMs, headersTimeoutMs } from './upstream.ts'
import type { HeaderMap, Sending, Upstream, UpstreamHandler } from './upstream.ts'

/** Keep-alive connections to one endpoint, one request at a time on each. */
export function openH1Upstream(ip: string, port: number, { policy, tls }: Pick<Cluster, 'policy' | 'tls'>): Upstream {
  const secured = tls === undefined ? undefined : tlsOptions(tls)
  // Told with each request: who asks for another name would be given another connection.
  const named = secured === undefined ? {} : { servername: secured.servername }
  const pool = new Pool(`${secured === undefined ? 'http' : 'https'}://${ip.includes(':') ? `[${ip}]` : ip}:${port}`, {
    connections: policy.maxConnections ?? null,
    allowH2: false,
    pipelining: 1,
    connectTimeout: policy.connectTimeoutMs,
    ...(secured === undefined ? {} : { connect: secured as buildConnector.BuildOptions }),
    // Servers that do not say how long they keep a connection commonly do so for 5 s (Node) and more.
    keepAliveTimeout: Math.min(policy.idleTimeoutMs ?? 4_000, 4_000),
    keepAliveMaxTimeout: policy.idleTimeoutMs ?? 60_000,
    headersTimeout: headersTimeoutMs,
    bodyTimeout: bodyTimeoutMs,
    ...(policy.maxRequestsPerConnection === undefined ? {} : { maxRequestsPerClient: policy.maxRequestsPerConnection }),
  })
  return {
    send(request, handler) {
      const passage = new Passage(handler)
      const { method, path, headers, body } = request
      const sent = body === null || Buffer.isBuffer(body) ? body : body.chunks()
      pool.dispatch({ method, path, headers, body: sent as Dispatcher.DispatchOptions['body'] & {}, ...named }, passage)
      return passage
    },
    close: () => pool.close(),
    destroy: () => void pool.destroy().catch(() => {}),
  }
}

class Passage implements Dispatcher.DispatchHandler, Sending {
  readonly #handler: UpstreamHandler
  #controller: Dispatcher.DispatchController | undefined
  #aborted: Error | undefined
  #isOver = false

  constructor(handler: UpstreamHandler) {
    this.#handler = handler
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#aborted === undefined) this.#handler.onSend()
    else controller.abort(this.#aborted)
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    // Interim answers (103) are not passed on.
    if (status >= 200) this.#handler.onHead(status, headers as HeaderMap)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#handler.onData(chunk)) controller.pause()
  }

  onResponseEnd(_controller: Dispatcher.DispatchController, trailers: IncomingHttpHeaders): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#handler.onEnd(isEmpty(trailers) ? undefined : (trailers as HeaderMap))
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#handler.onError(error)
  }

  resume(): void {
    this.#controller?.resume()
  }

  abort(error: Error): void {
    if (this.#isOver || this.#aborted !== undefined) return
    this.#aborted = error
    if (this.#controller !== undefined) this.#controller.abort(error)
    else {
      // Still waiting for a connection: it is dropped when its turn comes.
      this.#isOver = true
      this.#handler.onError(error)
    }
  }
}

function isEmpty(headers: IncomingHttpHeaders | undefined): boolean {
  for (const _ in headers) return false
  return true
}
