import type { Service } from '@fairlead/kube/types/core-v1'
import type { EndpointHints } from '@fairlead/kube/types/discovery-v1'

/** The label of a node that names its zone. */
export const zoneLabel = 'topology.kubernetes.io/zone'

/** Where an endpoint is; undefined for what is not known. */
export interface EndpointPlace {
  readonly zone: string | undefined
  readonly nodeName: string | undefined
}

/**
 * For whom an endpoint of a service with a `trafficDistribution` is meant: its own zone, and with `PreferSameNode` its own
 * node before that (KEP-3015). Proxies fall back to every endpoint where none is meant for them.
 */
export function hintsOf({ spec }: Service, { zone, nodeName }: EndpointPlace): EndpointHints | undefined {
  const distribution = spec?.trafficDistribution
  if (!isClose(distribution)) return undefined
  const forNode = distribution === 'PreferSameNode' ? nodeName : undefined
  if (zone === undefined && forNode === undefined) return undefined
  return {
    ...(zone !== undefined && { forZones: [{ name: zone }] }),
    ...(forNode !== undefined && { forNodes: [{ name: forNode }] }),
  }
}

function isClose(distribution: string | undefined): boolean {
  return ['PreferClose', 'PreferSameZone', 'PreferSameNode'].includes(distribution ?? '')
}
