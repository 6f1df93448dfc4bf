import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createLogger } from '../log/logger.ts'
import { createHandler } from './handler.ts'
import type { HandlerOptions, ServedRequest } from './handler.ts'
import { createRouteTable } from './router.ts'
import type { Router } from './router.ts'

/** What an observer notes of a request. */
export type Noted = Pick<ServedRequest, 'method' | 'route' | 'status' | 'requestId' | 'error' | 'grpcStatus'>

export interface TestServer extends AsyncDisposable {
  readonly url: string
  readonly port: number
  /** Requests that are over. */
  readonly served: readonly Noted[]
  /** Resolves to the next request that is over. */
  next(): Promise<Noted>
}

/** A handler on a plain node:http server. */
export async function serveHandler(
  options: Partial<HandlerOptions> & { readonly http?: (router: Router) => unknown },
): Promise<TestServer> {
  const table = createRouteTable()
  options.http?.(table.router)
  const served: Noted[] = []
  let waiting = Promise.withResolvers<Noted>()
  const log = createLogger({ level: 'silent' })
  const host = { log, isReady: () => true }
  await options.app?.start?.(host)
  const server = createServer(
    createHandler({
      match: table.match,
      log,
      ...options,
      onServed(request) {
        options.onServed?.(request)
        const { method, route, status, requestId, error, grpcStatus } = request
        served.push({ method, route, status, requestId, error, grpcStatus })
        waiting.resolve({ method, route, status, requestId, error, grpcStatus })
        waiting = Promise.withResolvers()
      },
    }),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    served,
    next: () => waiting.promise,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
      await options.app?.stop?.()
    },
  }
}
