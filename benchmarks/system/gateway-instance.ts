// A process of the gateway benchmark: `backend NAME` answers with its name, `gateway PORT PORT` splits 90 to 10 between two of
// them. Prints the port it listens on.
import { createServer } from 'node:http'
import { openDataPlane } from '../../packages/cluster/src/lib/gateway/plane/plane.ts'
import type { Cluster } from '../../packages/cluster/src/lib/gateway/model.ts'

const [kind, ...rest] = process.argv.slice(2)
if (kind === 'backend') serve(rest[0] ?? '')
else await split(rest.map(Number))

function serve(name: string): void {
  const server = createServer({ keepAliveTimeout: 60_000 }, (_, response) => response.end(name))
  server.listen(0, '127.0.0.1', () => {
    const address = server.address()
    console.log(typeof address === 'object' ? address?.port : address)
  })
}

async function split(ports: readonly number[]): Promise<void> {
  const plane = openDataPlane()
  const clusters = ports.map((port, index) => clusterOf(`v${index + 1}`, port))
  const targets = clusters.map(({ key }, index) => ({ weight: index === 0 ? 90 : 10, cluster: key }))
  const rules = [{ route: 'HTTPRoute shop/canary', matches: [], action: { kind: 'forward' as const, targets } }]
  const listener = {
    key: 'edge',
    host: '127.0.0.1',
    port: 0,
    isFlexible: false,
    kind: 'http' as const,
    certificates: [],
    hosts: [{ hostname: '*', rules }],
  }
  await plane.apply({
    listeners: new Map([[listener.key, listener]]),
    clusters: new Map(clusters.map((cluster) => [cluster.key, cluster])),
  })
  const outcome = plane.outcomes.get(listener.key)
  console.log(outcome !== undefined && 'port' in outcome ? outcome.port : outcome)
}

function clusterOf(key: string, port: number): Cluster {
  const endpoint = { address: `127.0.0.1:${port}`, ip: '127.0.0.1', port, workload: 'app', version: key }
  const policy = { balance: { kind: 'least-request' as const }, connectTimeoutMs: 2_000 }
  return { key, namespace: 'shop', service: 'app', port: 80, protocol: 'http1', endpoints: [endpoint], policy }
}
