import type { Service } from '@fairlead/kube/types/core-v1'
import type { ClusterTable } from './clusters.ts'
import type { ListenerDraft } from './listeners.ts'

/** Listeners for the traffic of pods to Services, by `namespace/name/port`. */
export interface MeshTable {
  readonly drafts: Map<string, ListenerDraft>
}

/**
 * The listener that takes the traffic of a Service's port, opened when it is first asked for; undefined for Services without an address.
 * Connections of other protocols go to the Service's endpoints.
 */
export function openMesh(
  mesh: MeshTable,
  service: Service,
  port: number,
  { clusters }: { clusters: ClusterTable },
): ListenerDraft | undefined {
  const { namespace = '', name = '' } = service.metadata ?? {}
  const address = service.spec?.clusterIP
  if (address === undefined || address === '' || address === 'None') return undefined
  const key = `${namespace}/${name}/${port}`
  const known = mesh.drafts.get(key)
  if (known !== undefined) return known
  const draft: ListenerDraft = {
    key: `mesh ${key}`,
    host: '',
    port: 0,
    kind: 'mesh',
    isFlexible: false,
    passthrough: clusters.find({ namespace, service: name, port }),
    certificates: [],
    hosts: new Map(),
  }
  mesh.drafts.set(key, draft)
  return draft
}
