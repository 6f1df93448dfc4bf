import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'

import { fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { EndpointAddress, EndpointPort, Endpoints, Service } from '@fairlead/kube/types/core-v1'
import type { Endpoint, EndpointPort as SlicePort, EndpointSlice } from '@fairlead/kube/types/discovery-v1'

import { byService, serviceNameLabel } from './context.ts'
import type { ControllerContext } from './context.ts'
import { isNamespaceTerminating } from './namespaces.ts'
import { controllerReference } from './ownership.ts'
import { hasSelector, managedByLabel } from './service-endpoints.ts'
import { ignoreNotFound } from './write.ts'

const mirrorManager = 'endpointslicemirroring-controller.k8s.io'
/** Endpoints with this label are nobody's service, or told otherwise already. */
const skipLabel = 'endpointslice.kubernetes.io/skip-mirror'
const leaderAnnotation = 'control-plane.alpha.kubernetes.io/leader'
/** Annotations that say something of the Endpoints alone. */
const notCopied: ReadonlySet<string> = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  'endpoints.kubernetes.io/last-change-trigger-time',
])
/** The most addresses of one subset that are mirrored, and that one slice carries. */
const maxPerSubset = 1000
const maxPerSlice = 100

/** Keeps EndpointSlices for Endpoints that people write themselves: those of Services without a selector. */
export function runEndpointMirroring(context: ControllerContext): Promise<void> {
  const { client, informers, signal, onError, clock } = context
  const slices = client.resource('discovery.k8s.io/v1/EndpointSlice')

  async function reconcile(key: string): Promise<void> {
    const { namespace, name } = parseKey(key)
    const endpoints = informers.endpoints.get(namespace, name)
    const service = informers.services.get(namespace, name)
    const wanted = endpoints !== undefined && isMirrored(endpoints, service) ? renderMirror(endpoints) : []
    const current = informers.endpointSlices.byIndex(byService, key).filter(isMirror)
    const byName = new Map(current.map((slice) => [slice.metadata?.name, slice]))
    // What is new is written before what is old goes: a service that answers never looks empty.
    await Promise.all(wanted.map((slice) => put(slice, byName.get(slice.metadata?.name))))
    const names = new Set(wanted.map(({ metadata }) => metadata?.name))
    const spare = current.filter(({ metadata }) => !names.has(metadata?.name))
    await Promise.all(spare.map(({ metadata }) => ignoreNotFound(slices.delete(metadata?.name ?? '', { namespace }))))
  }

  async function put(wanted: EndpointSlice, current: EndpointSlice | undefined): Promise<void> {
    if (current !== undefined) {
      if (!isSame(wanted, current)) await ignoreNotFound(slices.update(wanted))
      return
    }
    try {
      await slices.create(wanted)
    } catch (error) {
      if (!isNamespaceTerminating(error)) throw error
    }
  }

  return runController({
    name: 'endpoint-slice-mirroring',
    sources: [
      fromInformer(informers.services, (service) => [keyOf(service)]),
      fromInformer(informers.endpoints, (endpoints) => [keyOf(endpoints)]),
      fromInformer(informers.endpointSlices, (slice) => {
        const name = slice.metadata?.labels?.[serviceNameLabel]
        return name !== undefined && isMirror(slice) ? [`${slice.metadata?.namespace ?? ''}/${name}`] : []
      }),
    ],
    reconcile,
    signal,
    onError,
    clock,
  })
}

/** Whether Endpoints are somebody's own and belong to a service that chooses no pods. */
export function isMirrored({ metadata }: Endpoints, service: Service | undefined): boolean {
  const isSkipped = metadata?.labels?.[skipLabel] === 'true' || metadata?.annotations?.[leaderAnnotation] !== undefined
  if (isSkipped || metadata?.deletionTimestamp !== undefined) return false
  return service !== undefined && service.spec?.type !== 'ExternalName' && !hasSelector(service)
}

/** The slices that say what Endpoints say: one per subset, family and hundred of addresses. */
export function renderMirror(endpoints: Endpoints): EndpointSlice[] {
  return (endpoints.subsets ?? []).flatMap(({ addresses = [], notReadyAddresses = [], ports = [] }, subset) => {
    const all = [
      ...addresses.map((address) => ({ address, ready: true })),
      ...notReadyAddresses.map((address) => ({ address, ready: false })),
    ].slice(0, maxPerSubset)
    return (['IPv4', 'IPv6'] as const).flatMap((type) => {
      const ofType = all.filter(({ address }) => address.ip.includes(':') === (type === 'IPv6'))
      const count = Math.ceil(ofType.length / maxPerSlice)
      return Array.from({ length: count }, (_, index) => ({
        ...renderHead(endpoints, [subset, type, index]),
        addressType: type,
        ports: ports.map(renderPort),
        endpoints: ofType.slice(index * maxPerSlice, (index + 1) * maxPerSlice).map(renderEndpoint),
      }))
    })
  })
}

function renderHead({ metadata }: Endpoints, part: readonly unknown[]): Pick<EndpointSlice, 'metadata'> {
  const { name = '', namespace, uid, labels } = metadata ?? {}
  const identity = JSON.stringify([uid, ...part])
  const annotations = Object.entries(metadata?.annotations ?? {}).filter(([key]) => !notCopied.has(key))
  return {
    metadata: {
      name: `${name}-${createHash('sha256').update(identity).digest('hex').slice(0, 5)}`,
      namespace,
      labels: { ...labels, [serviceNameLabel]: name, [managedByLabel]: mirrorManager },
      ...(annotations.length > 0 && { annotations: Object.fromEntries(annotations) }),
      ownerReferences: [controllerReference({ apiVersion: 'v1', kind: 'Endpoints', metadata })],
    },
  }
}

function renderPort({ name = '', port, protocol = 'TCP', appProtocol }: EndpointPort): SlicePort {
  return { name, port, protocol, ...(appProtocol !== undefined && { appProtocol }) }
}

function renderEndpoint({ address, ready }: { readonly address: EndpointAddress; readonly ready: boolean }): Endpoint {
  const { ip, hostname, nodeName, targetRef } = address
  return {
    addresses: [ip],
    conditions: { ready },
    ...(hostname !== undefined && { hostname }),
    ...(nodeName !== undefined && { nodeName }),
    ...(targetRef !== undefined && { targetRef }),
  }
}

function isMirror({ metadata }: EndpointSlice): boolean {
  return metadata?.labels?.[managedByLabel] === mirrorManager
}

function isSame(a: EndpointSlice, b: EndpointSlice): boolean {
  return (
    isDeepStrictEqual(a.metadata?.labels, b.metadata?.labels) &&
    isDeepStrictEqual(a.metadata?.annotations ?? {}, b.metadata?.annotations ?? {}) &&
    isDeepStrictEqual(a.endpoints ?? [], b.endpoints ?? []) &&
    isDeepStrictEqual(a.ports ?? [], b.ports ?? [])
  )
}
