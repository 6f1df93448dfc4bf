import { once } from 'node:events'
import type { Agent, IncomingMessage, RequestListener, Server } from 'node:http'
import type { Server as TcpServer } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Cluster, Endpoint, ListenerConfig, Rule, TrafficPolicy } from '../model.ts'
import { openDataPlane } from './plane.ts'
import type { DataPlane, DataPlaneOptions } from './plane.ts'

// An import would bring all of fetch along: see scripts/check-imports.ts.
const { createServer, request } = process.getBuiltinModule('node:http')

export const policy: TrafficPolicy = { balance: { kind: 'least-request' }, connectTimeoutMs: 2_000 }

/** A data plane with one listener, `test`, and the servers it leads to. */
export interface PlaneBench extends AsyncDisposable {
  readonly plane: DataPlane
  serve(handler: RequestListener): Promise<Endpoint>
  endpointOf(server: TcpServer): Promise<Endpoint>
  /** Stops the server of an endpoint from listening. */
  silence(endpoint: Endpoint): void
  /** Puts rules in force on the listener; the port it has. */
  route(rules: readonly Rule[], clusters: readonly Cluster[], more?: Partial<ListenerConfig>): Promise<number>
}

export function openPlaneBench(options: DataPlaneOptions = {}): PlaneBench {
  const plane = openDataPlane(options)
  const servers = new Set<TcpServer | Server>()

  async function endpointOf(server: TcpServer): Promise<Endpoint> {
    servers.add(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return place(portOf(server))
  }

  return {
    plane,
    endpointOf,
    serve: (handler) => endpointOf(createServer({ keepAliveTimeout: 60_000 }, handler)),
    silence({ port }) {
      for (const server of servers) if (portOf(server) === port) server.close()
    },
    async route(rules, clusters, more = {}) {
      const listener = listenerOf('test', { hosts: [{ hostname: '*', rules }], ...more })
      await plane.apply({
        listeners: new Map([['test', listener]]),
        clusters: new Map(clusters.map((cluster) => [cluster.key, cluster])),
      })
      const outcome = plane.outcomes.get('test')
      if (outcome === undefined || !('port' in outcome)) throw new Error(`not listening: ${JSON.stringify(outcome)}`)
      return outcome.port
    },
    async [Symbol.asyncDispose]() {
      await plane.close()
      for (const server of servers) {
        if ('closeAllConnections' in server) server.closeAllConnections()
        server.close()
      }
    },
  }
}

export function listenerOf(key: string, more: Partial<ListenerConfig> = {}): ListenerConfig {
  return {
    key,
    host: '127.0.0.1',
    port: 0,
    isFlexible: false,
    kind: 'http',
    certificates: [],
    hosts: [],
    ...more,
  }
}

function place(port: number): Endpoint {
  return { address: `127.0.0.1:${port}`, ip: '127.0.0.1', port, workload: 'app', version: '1' }
}

function portOf(server: TcpServer | Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

export function clusterOf(key: string, endpoints: readonly Endpoint[]): Cluster {
  return { key, namespace: 'shop', service: key, port: 80, protocol: 'http1', endpoints, policy }
}

export function forward(cluster: string | undefined, { path }: { path?: string } = {}): Rule {
  return {
    route: 'test',
    matches: path === undefined ? [] : [{ path: { kind: 'exact', value: path } }],
    action: { kind: 'forward', targets: [{ weight: 1, cluster }] },
  }
}

export interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

export async function ask(to: {
  port: number
  path?: string
  method?: string
  headers?: Record<string, string>
  body?: string
  agent?: Agent
}): Promise<Answer> {
  const { body, ...options } = to
  const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
  const sent = request({ host: '127.0.0.1', agent: false, ...options, headers: { ...length, ...to.headers } })
  sent.end(body)
  const [response]: [IncomingMessage] = (await once(sent, 'response')) as [IncomingMessage]
  return { status: response.statusCode, headers: response.headers, body: await text(response) }
}
