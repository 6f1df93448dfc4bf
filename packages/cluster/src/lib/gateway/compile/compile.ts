import type { Routing } from '../model.ts'
import type { World } from '../objects.ts'
import type { PolicyReport } from './backend-tls.ts'
import { createClusterTable } from './clusters.ts'
import { compileGatewayApi } from './gateway-api.ts'
import type { GatewayApiReport } from './gateway-api.ts'
import { compileIngresses } from './ingress.ts'
import type { IngressReport } from './ingress.ts'
import { compileIstio } from './istio.ts'
import { createListenerTable } from './listeners.ts'
import type { MeshTable } from './mesh.ts'

/** The routing of a world, and what is to be told to the objects it came from. */
export interface Compiled {
  readonly routing: Routing
  readonly ingresses: readonly IngressReport[]
  readonly gatewayApi: GatewayApiReport
  readonly tlsPolicies: readonly PolicyReport[]
  /** Keys of mesh listeners by `namespace/name/port` of the Service whose traffic they take. */
  readonly mesh: ReadonlyMap<string, string>
}

/** Everything the gateway has to do in this world. Pure. */
export function compileWorld(world: World): Compiled {
  const clusters = createClusterTable(world)
  const listeners = createListenerTable()
  const mesh: MeshTable = { drafts: new Map() }
  // Gateways say which ports they want and cannot have others: they come first.
  const gatewayApi = compileGatewayApi(world, clusters, listeners, mesh)
  const ingresses = compileIngresses(world, clusters, listeners)
  compileIstio(world, clusters, listeners, mesh)
  const own = [...mesh.drafts.values()].map((draft) => ({ ...draft, host: world.meshHost }))
  const configs = listeners.finish(own)
  return {
    routing: { listeners: configs, clusters: clusters.clusters },
    ingresses,
    gatewayApi,
    tlsPolicies: clusters.tlsPolicies,
    mesh: new Map([...mesh.drafts].map(([key, draft]) => [key, draft.key])),
  }
}
