/**
 * A Kubernetes API server without nodes: a store, the API on it, in this process or by HTTPS.
 *
 * ```ts
 * import { createKubeClient } from '@fairlead/kube'
 * import { createApiServer, openStore } from '@fairlead/cluster/apiserver'
 *
 * await using store = await openStore({ dir: '', durability: 'memory' })
 * await using server = createApiServer({ store })
 * const transport = server.transport({ user: 'admin', groups: ['system:masters'] })
 * const client = createKubeClient({ transport })
 * const { items } = await client.resource('v1/Namespace').list()
 * console.log(items.map((namespace) => namespace.metadata?.name))
 * ```
 */
export { createApiServer } from './lib/apiserver/server.ts'
export { openStore } from './lib/storage/store.ts'
export type { ApiServer, ApiServerOptions } from './lib/apiserver/server.ts'
export type { Identity } from './lib/apiserver/exchange.ts'
export type {
  ContainerTarget,
  Kubelet,
  KubeletRequest,
  KubeletResponse,
  PodTarget,
  RemoteContainer,
  RemotePod,
  RemoteProcess,
} from './lib/apiserver/kubelet.ts'
export type { HttpLimits, ListenOptions } from './lib/apiserver/http-server.ts'
export type { InFlightLimits } from './lib/apiserver/in-flight.ts'
export type { Backup, Change, Durability, ListOptions, Store, StoreOptions, Subscription } from './lib/storage/store.ts'
export type { Disk } from './lib/storage/disk.ts'
export type { Entry } from './lib/storage/collection.ts'
export type { HistoryLimits, StoreEvent } from './lib/storage/history.ts'
export type { Operation } from './lib/storage/record.ts'
