import { once } from 'node:events'
import { metricsContentType } from '@fairlead/service/metrics'

// An import would bring all of fetch along: see scripts/check-imports.ts.
const { createServer } = process.getBuiltinModule('node:http')

/** Serves `/metrics` on a free port of `host`. */
export async function openMetricsEndpoint(options: {
  readonly host: string
  readonly render: () => string
}): Promise<{ readonly port: number; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    if (request.url?.split('?', 1)[0] !== '/metrics') return response.writeHead(404).end()
    return response.writeHead(200, { 'content-type': metricsContentType }).end(options.render())
  })
  server.listen({ host: options.host, port: 0 })
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    port,
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
