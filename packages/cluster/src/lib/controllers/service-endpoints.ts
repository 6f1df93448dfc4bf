import { createHash } from 'node:crypto'

import type {
  EndpointAddress,
  EndpointPort,
  Endpoints,
  EndpointSubset,
  Pod,
  Service,
  ServicePort,
} from '@fairlead/kube/types/core-v1'
import type { Endpoint, EndpointPort as SlicePort, EndpointSlice } from '@fairlead/kube/types/discovery-v1'

import { serviceNameLabel } from './context.ts'
import { matchesLabels } from '../label-selector.ts'
import { isPodReady, isPodTerminal } from './pod-state.ts'
import { hintsOf } from './traffic-hints.ts'

/** The most endpoints one slice carries. */
const maxPerSlice = 100
export const managedByLabel = 'endpointslice.kubernetes.io/managed-by'
export const sliceManager = 'endpointslice-controller.k8s.io'
const headlessLabel = 'service.kubernetes.io/headless'

type AddressType = 'IPv4' | 'IPv6'

/** Whether the endpoints of a service come from pods: those of others are written by whoever made the service. */
export function hasSelector({ spec }: Service): boolean {
  return spec?.type !== 'ExternalName' && Object.keys(spec?.selector ?? {}).length > 0
}

/** Whether `service` sends traffic to `pod`, by labels alone. */
export function selectsPod(service: Service, pod: Pod): boolean {
  return hasSelector(service) && matchesLabels(service.spec?.selector ?? {}, pod.metadata?.labels)
}

/** Pods by the same service ports on the same numbers; pods may differ, for a target port can be a name. */
interface PortGroup {
  readonly ports: readonly ResolvedPort[]
  readonly pods: Pod[]
}

interface ResolvedPort {
  readonly servicePort: ServicePort
  readonly number: number
}

function groupPods(service: Service, pods: readonly Pod[]): PortGroup[] {
  const groups = new Map<string, PortGroup>()
  for (const pod of pods) {
    const ports = resolvePorts(service, pod)
    if (ports !== undefined) {
      const key = ports
        .map(({ servicePort, number }) => `${servicePort.name ?? ''}:${number}/${servicePort.protocol}`)
        .join()
      const group = groups.get(key) ?? { ports, pods: [] }
      group.pods.push(pod)
      groups.set(key, group)
    }
  }
  return [...groups.values()]
}

/** The pod's numbers for the service's ports; undefined when the service has ports and the pod none of them. */
function resolvePorts(service: Service, pod: Pod): ResolvedPort[] | undefined {
  const servicePorts = service.spec?.ports ?? []
  const ports = servicePorts.flatMap((servicePort) => {
    const number = resolveTargetPort(servicePort, pod)
    return number === undefined ? [] : [{ servicePort, number }]
  })
  return servicePorts.length > 0 && ports.length === 0 ? undefined : ports
}

/** The number a service port leads to in a pod; undefined when the port is named and no container has that name. */
function resolveTargetPort({ targetPort, port, protocol = 'TCP' }: ServicePort, pod: Pod): number | undefined {
  const target = targetPort ?? port
  if (typeof target === 'number') {
    return target === 0 ? port : target
  }
  const sidecars = (pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always')
  return [...(pod.spec?.containers ?? []), ...sidecars]
    .flatMap(({ ports }) => ports ?? [])
    .find((one) => one.name === target && (one.protocol ?? 'TCP') === protocol)?.containerPort
}

function addressesOf(pod: Pod, type: AddressType): string[] {
  const all = pod.status?.podIPs?.map(({ ip }) => ip) ?? []
  const known = all.length > 0 || pod.status?.podIP === undefined ? all : [pod.status.podIP]
  return known.filter((ip) => ip !== '' && ip.includes(':') === (type === 'IPv6'))
}

/** Address families of a service's slices. */
function addressTypesOf({ spec }: Service): AddressType[] {
  const families = spec?.ipFamilies ?? []
  if (families.length > 0) {
    return families.map((family) => (family === 'IPv6' ? 'IPv6' : 'IPv4'))
  }
  return [spec?.clusterIP?.includes(':') === true ? 'IPv6' : 'IPv4']
}

export interface EndpointSliceOptions {
  /** The zone of a node, by its name. Default: no node tells one. */
  readonly zoneOf?: (nodeName: string) => string | undefined
}

/**
 * The slices of a service over the pods it selects. Names follow from the content of the port group, so the same pods
 * always give the same slices and a write repeated on an old cache changes nothing.
 */
export function renderEndpointSlices(
  service: Service,
  pods: readonly Pod[],
  options: EndpointSliceOptions = {},
): EndpointSlice[] {
  return addressTypesOf(service).flatMap((type) => {
    const reachable = pods.filter((pod) => !isPodTerminal(pod) && addressesOf(pod, type).length > 0).toSorted(byName)
    const groups = groupPods(service, reachable)
    // A service nothing answers for still has a slice, so that proxies know it is meant to be empty.
    const shown = groups.length === 0 ? [{ ports: [], pods: [] }] : groups
    return shown.flatMap((group) => sliceGroup(service, group, { ...options, type }))
  })
}

type SliceOptions = EndpointSliceOptions & { readonly type: AddressType }

function sliceGroup(service: Service, group: PortGroup, options: SliceOptions): EndpointSlice[] {
  const { type } = options
  const ports = group.ports.map(renderSlicePort)
  const count = Math.max(1, Math.ceil(group.pods.length / maxPerSlice))
  return Array.from({ length: count }, (_, index) => {
    const pods = group.pods.slice(index * maxPerSlice, (index + 1) * maxPerSlice)
    const {
      name = '',
      namespace,
      uid = '',
      labels: { [headlessLabel]: _reserved, ...labels } = {},
    } = service.metadata ?? {}
    const identity = JSON.stringify([
      uid,
      type,
      group.ports.map(({ servicePort, number }) => [servicePort.name, number]),
      index,
    ])
    return {
      apiVersion: 'discovery.k8s.io/v1' as const,
      kind: 'EndpointSlice' as const,
      metadata: {
        name: `${name}-${createHash('sha256').update(identity).digest('hex').slice(0, 5)}`,
        namespace,
        labels: {
          ...labels,
          ...(service.spec?.clusterIP === 'None' && { [headlessLabel]: '' }),
          [managedByLabel]: sliceManager,
          [serviceNameLabel]: name,
        },
        ownerReferences: [{ apiVersion: 'v1', kind: 'Service', name, uid, controller: true, blockOwnerDeletion: true }],
      },
      addressType: type,
      ports,
      endpoints: pods.map((pod) => renderEndpoint(service, pod, options)),
    }
  })
}

function renderSlicePort({ servicePort, number }: ResolvedPort): SlicePort {
  const { name = '', protocol = 'TCP', appProtocol } = servicePort
  return { name, port: number, protocol, ...(appProtocol !== undefined && { appProtocol }) }
}

function renderEndpoint(service: Service, pod: Pod, { type, zoneOf }: SliceOptions): Endpoint {
  const serving = isPodReady(pod)
  const terminating = pod.metadata?.deletionTimestamp !== undefined
  const ready = service.spec?.publishNotReadyAddresses === true || (serving && !terminating)
  const { nodeName } = pod.spec ?? {}
  const zone = nodeName === undefined ? undefined : zoneOf?.(nodeName)
  const hints = ready ? hintsOf(service, { zone, nodeName }) : undefined
  return {
    addresses: addressesOf(pod, type),
    conditions: { ready, serving, terminating },
    ...hostnameOf(service, pod),
    ...(nodeName !== undefined && { nodeName }),
    ...(zone !== undefined && { zone }),
    ...(hints !== undefined && { hints }),
    targetRef: targetOf(pod),
  }
}

/** A pod that names the service as its subdomain has its own name in the service's zone. */
function hostnameOf(service: Service, { spec }: Pod): { hostname?: string } {
  const isNamed = spec?.hostname !== undefined && spec.hostname !== '' && spec.subdomain === service.metadata?.name
  return isNamed ? { hostname: spec.hostname ?? '' } : {}
}

function targetOf({ metadata }: Pod): { kind: string; namespace: string; name: string; uid: string } {
  const { namespace = '', name = '', uid = '' } = metadata ?? {}
  return { kind: 'Pod', namespace, name, uid }
}

function byName(a: Pod, b: Pod): number {
  return (a.metadata?.name ?? '').localeCompare(b.metadata?.name ?? '')
}

/** The legacy Endpoints object of a service, of its first address family. Pods being deleted are left out. */
export function renderEndpoints(service: Service, pods: readonly Pod[]): Endpoints {
  const [type = 'IPv4'] = addressTypesOf(service)
  const { name = '', namespace, labels } = service.metadata ?? {}
  const published = service.spec?.publishNotReadyAddresses === true
  const reachable = pods.filter(
    (pod) =>
      !isPodTerminal(pod) &&
      addressesOf(pod, type).length > 0 &&
      (published || pod.metadata?.deletionTimestamp === undefined),
  )
  return {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: {
      name,
      namespace,
      labels: {
        ...labels,
        ...(service.spec?.clusterIP === 'None' && { [headlessLabel]: '' }),
        'endpoints.kubernetes.io/managed-by': 'endpoint-controller',
      },
    },
    subsets: groupPods(service, reachable.toSorted(byName)).map((group) => renderSubset(service, group, type)),
  }
}

function renderSubset(service: Service, { ports, pods }: PortGroup, type: AddressType): EndpointSubset {
  const isReady = (pod: Pod): boolean => service.spec?.publishNotReadyAddresses === true || isPodReady(pod)
  const render = (pod: Pod): EndpointAddress => {
    const { nodeName } = pod.spec ?? {}
    const [ip = ''] = addressesOf(pod, type)
    return { ip, ...hostnameOf(service, pod), ...(nodeName !== undefined && { nodeName }), targetRef: targetOf(pod) }
  }
  const addresses = pods.filter(isReady).map(render)
  const notReadyAddresses = pods.filter((pod) => !isReady(pod)).map(render)
  return {
    ...(addresses.length > 0 && { addresses }),
    ...(notReadyAddresses.length > 0 && { notReadyAddresses }),
    ...(ports.length > 0 && { ports: ports.map(renderSubsetPort) }),
  }
}

function renderSubsetPort({ servicePort, number }: ResolvedPort): EndpointPort {
  const { name, protocol = 'TCP', appProtocol } = servicePort
  return {
    ...(name !== undefined && name !== '' && { name }),
    port: number,
    protocol,
    ...(appProtocol !== undefined && { appProtocol }),
  }
}
