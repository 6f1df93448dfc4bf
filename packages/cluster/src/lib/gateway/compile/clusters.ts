import type { Pod, Service, ServicePort } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice, Endpoint as SliceEndpoint } from '@fairlead/kube/types/discovery-v1'
import { usableEndpoints } from '../../network/service-ports.ts'
import type { Cluster, Endpoint, UpstreamProtocol } from '../model.ts'
import type { World } from '../objects.ts'
import { compilePolicies, createUpstreamTls, tlsByPolicy, tlsOfRule } from './backend-tls.ts'
import type { BackendTls, PolicyReport } from './backend-tls.ts'
import { findDestinationRule, policyOf } from './destination-rule.ts'

/** Where a route wants to go. */
export interface Destination {
  readonly namespace: string
  readonly service: string
  /** Number or name; absent: the only port there is. */
  readonly port?: number | string | undefined
  readonly subset?: string | undefined
  /** Overrules what the Service says of its port. */
  readonly protocol?: UpstreamProtocol | undefined
  /** Asked with TLS whatever certificate is shown, where nothing else says how. */
  readonly isSecured?: boolean | undefined
}

/** Collects the clusters that routes name, each once. */
export interface ClusterTable {
  readonly tlsPolicies: readonly PolicyReport[]
  readonly clusters: ReadonlyMap<string, Cluster>
  /** The key of a cluster; undefined when there is no such Service, port or subset, or no authority that its TLS needs. */
  find(destination: Destination): string | undefined
}

export function createClusterTable(world: World): ClusterTable {
  const clusters = new Map<string, Cluster>()
  const tlsPolicies = compilePolicies(world)

  function tlsOf(
    { namespace, service, isSecured = false }: Destination,
    port: ServicePort,
    rule: BackendTls,
  ): BackendTls {
    const key = `${namespace}/${service}`
    const asked = tlsByPolicy(tlsPolicies, key, port.name ?? '') ?? rule
    const serverName = serverNameOf(world.services.get(key))
    return asked ?? (isSecured ? createUpstreamTls({ serverName, names: [], isVerified: false }) : undefined)
  }

  return {
    tlsPolicies,
    clusters,
    find(destination) {
      const { namespace, service: name, subset } = destination
      const service = world.services.get(`${namespace}/${name}`)
      const port = service === undefined ? undefined : findPort(service, destination.port)
      if (service === undefined || port === undefined) return undefined
      const rule = findDestinationRule(world.destinationRules, namespace, name)
      const labels = subset === undefined ? {} : rule?.spec?.subsets?.find((one) => one.name === subset)?.labels
      if (labels === undefined) return undefined
      const policy = policyOf(rule, port.port, subset)
      const serverName = serverNameOf(service)
      const ruled = tlsOfRule(policy.tls, { namespace: rule?.metadata?.namespace ?? '', serverName, world })
      const tls = tlsOf(destination, port, ruled)
      if (tls === 'broken') return undefined
      const protocol = destination.protocol ?? (policy.isH2 ? 'h2c' : protocolOf(port))
      const key = `${namespace}/${name}:${port.port}${subset === undefined ? '' : `/${subset}`}${protocol === 'h2c' ? ' h2c' : ''}${destination.isSecured === true ? ' tls' : ''}`
      if (!clusters.has(key)) {
        const endpoints = endpointsOf(world, service, port, labels)
        clusters.set(key, {
          key,
          namespace,
          service: name,
          port: port.port,
          subset,
          protocol,
          tls,
          endpoints,
          policy: policy.policy,
        })
      }
      return key
    },
  }
}

/** Whom endpoints of a Service are taken for where nothing names them. */
function serverNameOf(service: Service | undefined): string {
  const { namespace = '', name = '' } = service?.metadata ?? {}
  return service?.spec?.externalName ?? `${name}.${namespace}.svc.cluster.local`
}

/** The port of a Service by number or name, or its only one. */
function findPort(service: Service, wanted: number | string | undefined): ServicePort | undefined {
  const ports = service.spec?.ports ?? []
  if (wanted === undefined) return ports.length === 1 ? ports[0] : undefined
  return ports.find(({ port, name }) => port === wanted || name === wanted)
}

/** By `appProtocol` (KEP-3726), or by the port's name as Istio reads it. */
function protocolOf({ appProtocol, name = '' }: ServicePort): UpstreamProtocol {
  const told = appProtocol ?? name.split('-', 1)[0] ?? ''
  return ['kubernetes.io/h2c', 'h2c', 'http2', 'grpc'].includes(told) ? 'h2c' : 'http1'
}

/** False for ports that say they carry something other than plain HTTP. */
export function mayBeHttp({ appProtocol, name = '', protocol = 'TCP' }: ServicePort): boolean {
  if (protocol !== 'TCP') return false
  const told = appProtocol ?? name.split('-', 1)[0] ?? ''
  return !['tcp', 'tls', 'https', 'mongo', 'mysql', 'redis', 'postgres', 'udp'].includes(told)
}

function endpointsOf(
  world: World,
  service: Service,
  port: ServicePort,
  labels: Readonly<Record<string, string>>,
): Endpoint[] {
  const { namespace = '', name = '' } = service.metadata ?? {}
  if (service.spec?.type === 'ExternalName') return externalEndpoints(service, port)
  const placed = (world.slices.get(`${namespace}/${name}`) ?? []).flatMap((slice) => placeOf(slice, port))
  const pods = new Map<SliceEndpoint, Pod | undefined>(
    placed.map(({ endpoint }) => [endpoint, world.pods.get(`${namespace}/${endpoint.targetRef?.name ?? ''}`)]),
  )
  const selected = placed.filter(({ endpoint }) => hasLabels(pods.get(endpoint)?.metadata?.labels, labels))
  // The last endpoints of a subset serve on while they end, also when other subsets have ready ones.
  const usable = new Set(usableEndpoints(selected.map(({ endpoint }) => endpoint)))
  const found = new Map<string, Endpoint>()
  for (const { endpoint, port: number } of selected) {
    const [ip] = endpoint.addresses
    if (ip === undefined || !usable.has(endpoint)) continue
    const pod = pods.get(endpoint)
    const address = `${ip}:${number}`
    found.set(address, { address, ip, port: number, workload: workloadOf(pod), version: versionOf(pod) })
  }
  return [...found.values()].toSorted((a, b) => (a.address < b.address ? -1 : 1))
}

function placeOf(slice: EndpointSlice, { name = '' }: ServicePort): { endpoint: SliceEndpoint; port: number }[] {
  const port = slice.ports?.find((one) => (one.name ?? '') === name && (one.protocol ?? 'TCP') === 'TCP')?.port
  if (port === undefined || slice.addressType !== 'IPv4') return []
  return (slice.endpoints ?? []).map((endpoint) => ({ endpoint, port }))
}

function externalEndpoints({ spec }: Service, { port }: ServicePort): Endpoint[] {
  const ip = spec?.externalName
  return ip === undefined ? [] : [{ address: `${ip}:${port}`, ip, port, workload: 'unknown', version: 'unknown' }]
}

/** True when `labels` has all of `wanted`. */
export function hasLabels(
  labels: Readonly<Record<string, string>> | undefined,
  wanted: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(wanted).every(([name, value]) => labels?.[name] === value)
}

/** As Istio names workloads: the Deployment of a pod, or what else made it. */
function workloadOf(pod: Pod | undefined): string {
  const owner = pod?.metadata?.ownerReferences?.find(({ controller }) => controller === true)
  if (owner === undefined) return pod?.metadata?.name ?? 'unknown'
  const hash = pod?.metadata?.labels?.['pod-template-hash']
  return owner.kind === 'ReplicaSet' && hash !== undefined && owner.name.endsWith(`-${hash}`)
    ? owner.name.slice(0, -hash.length - 1)
    : owner.name
}

function versionOf(pod: Pod | undefined): string {
  const labels = pod?.metadata?.labels ?? {}
  return labels['version'] ?? labels['app.kubernetes.io/version'] ?? 'unknown'
}
