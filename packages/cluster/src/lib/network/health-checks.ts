import type { Server } from 'node:http'
import type { ServiceEntry, ServiceTable } from './service-table.ts'

// An import would bring all of fetch along: see scripts/check-imports.ts.
const { createServer } = process.getBuiltinModule('node:http')

/** Answers load balancers that ask the node whether it has endpoints of a Service. */
export interface HealthChecks {
  close(): Promise<void>
}

/** Options of {@link openHealthChecks}. */
export interface HealthChecksOptions {
  readonly table: ServiceTable
  /** Where it listens. */
  readonly hosts: readonly string[]
  readonly onError?: ((error: unknown) => void) | undefined
}

const requestTimeoutMs = 5_000

/**
 * Listens on `spec.healthCheckNodePort` of each Service that has one: 200 while there are endpoints on this machine, else 503,
 * with the body of kube-proxy (`pkg/proxy/healthcheck`). A port that is taken is told to `onError` and tried at the next change.
 */
export function openHealthChecks({ table, hosts, onError }: HealthChecksOptions): HealthChecks {
  const servers = new Map<string, Server>()
  table.onChange(update)
  update()

  function update(): void {
    const wanted = new Map<string, string>(
      [...table.entries].flatMap(
        ([
          service,
          {
            service: { spec },
          },
        ]) =>
          (spec?.healthCheckNodePort ?? 0) === 0
            ? []
            : hosts.map((host) => [`${service} ${host} ${spec?.healthCheckNodePort}`, service] as const),
      ),
    )
    for (const [name, server] of servers) {
      if (wanted.has(name)) continue
      servers.delete(name)
      server.close()
      server.closeAllConnections()
    }
    for (const [name, service] of wanted) if (!servers.has(name)) listen(name, service)
  }

  function listen(name: string, service: string): void {
    const [, host, port] = name.split(' ')
    const server = createServer(
      { requestTimeout: requestTimeoutMs, headersTimeout: requestTimeoutMs },
      (_, response) => {
        const { status, body } = answerHealth(service, table.entries.get(service))
        response.writeHead(status, { 'content-type': 'application/json', 'x-content-type-options': 'nosniff' })
        response.end(`${JSON.stringify(body)}\n`)
      },
    )
    server.on('error', (error) => {
      servers.delete(name)
      onError?.(error)
    })
    server.listen({ host, port: Number(port) })
    servers.set(name, server)
  }

  return {
    async close() {
      const closing = [...servers.values()].map(async (server) => {
        const closed = new Promise((resolve) => server.close(resolve))
        server.closeAllConnections()
        await closed
      })
      servers.clear()
      await Promise.all(closing)
    },
  }
}

/** What is said of a Service: how many ready endpoints of it are on this machine. */
function answerHealth(key: string, entry: ServiceEntry | undefined): { status: number; body: object } {
  const [namespace, name] = key.split('/')
  const endpoints = (entry?.slices ?? []).flatMap((slice) => slice.endpoints ?? [])
  const local = endpoints.filter(({ nodeName, conditions }) => nodeName !== undefined && conditions?.ready !== false)
  const localEndpoints = new Set(local.map(({ addresses }) => addresses[0])).size
  const body = { service: { namespace, name }, localEndpoints, serviceProxyHealthy: true }
  return { status: localEndpoints > 0 ? 200 : 503, body }
}
