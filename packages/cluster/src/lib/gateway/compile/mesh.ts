import type { Pod, Service } from '@fairlead/kube/types/core-v1'
import { matchesSelector } from '../../label-selector.ts'
import type { Rule } from '../model.ts'
import type { World } from '../objects.ts'
import type { ClusterTable } from './clusters.ts'
import type { ListenerDraft } from './listeners.ts'

/** Listeners for the traffic of pods to Services, by `namespace/name/port`. */
export interface MeshTable {
  readonly drafts: Map<string, ListenerDraft>
  /** Services, by `namespace/name`, whose routes are not followed because a NetworkPolicy says who may reach their pods, or those that the routes lead to. */
  readonly isolated: Set<string>
}

/**
 * The listener that takes the traffic of a Service's port and is to follow these rules, opened when it is first asked for; undefined for
 * Services without an address, and where policies are in the way. Connections of other protocols go to the Service's endpoints.
 */
export function openMesh(
  mesh: MeshTable,
  service: Service,
  port: number,
  { world, clusters, rules }: { world: World; clusters: ClusterTable; rules: readonly Rule[] },
): ListenerDraft | undefined {
  const { namespace = '', name = '' } = service.metadata ?? {}
  const address = service.spec?.clusterIP
  if (address === undefined || address === '' || address === 'None') return undefined
  const reached = new Set(rules.flatMap(clusterKeysOf).flatMap((key) => clusters.clusters.get(key) ?? []))
  const called = [...reached].map((one) => world.services.get(`${one.namespace}/${one.service}`))
  if ([service, ...called].some((one) => one !== undefined && isIsolated(one, world))) {
    mesh.isolated.add(`${namespace}/${name}`)
    return undefined
  }
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

/** Keys of the clusters that requests may be sent to. */
function clusterKeysOf({ action, mirrors = [] }: Rule): string[] {
  const targets = action.kind === 'forward' ? action.targets : []
  return [...targets, ...mirrors].flatMap(({ cluster }) => cluster ?? [])
}

/** The gateway reaches pods as the node does, which policies always let through: it must not be a way around them. */
function isIsolated({ metadata }: Service, world: World): boolean {
  const { namespace = '', name = '' } = metadata ?? {}
  const policies = world.networkPolicies.filter(
    (policy) =>
      policy.metadata?.namespace === namespace && (policy.spec?.policyTypes ?? ['Ingress']).includes('Ingress'),
  )
  if (policies.length === 0) return false
  const behind = (world.slices.get(`${namespace}/${name}`) ?? []).flatMap(({ endpoints = [] }) => endpoints)
  const pods = behind.map(({ targetRef }): Pod | undefined => world.pods.get(`${namespace}/${targetRef?.name ?? ''}`))
  return pods.some((pod) =>
    policies.some(({ spec }) => matchesSelector(spec?.podSelector ?? {}, pod?.metadata?.labels ?? {})),
  )
}
