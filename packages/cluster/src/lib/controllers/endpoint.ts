import { isDeepStrictEqual } from 'node:util'

import { isAlreadyExists, isNotFound } from '@fairlead/kube'
import type { KubeResource, ResourceClient } from '@fairlead/kube'
import { fromInformer, keyOf, parseKey, runController } from '@fairlead/kube/controller'
import type { Source } from '@fairlead/kube/controller'
import type { Endpoints, Node, Pod, Service } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'

import { byNode, byService, serviceNameLabel } from './context.ts'
import type { ControllerContext } from './context.ts'
import { isNamespaceTerminating } from './namespaces.ts'
import {
  hasSelector,
  managedByLabel,
  renderEndpoints,
  renderEndpointSlices,
  selectsPod,
  sliceManager,
} from './service-endpoints.ts'
import { zoneLabel } from './traffic-hints.ts'
import { ignoreNotFound } from './write.ts'

/** Keeps the EndpointSlices of services with a selector: which pods answer, on which ports, and whether they are ready. */
export function runEndpointSliceController(context: ControllerContext): Promise<void> {
  const { client, informers, signal, onError } = context
  const slices = client.resource('discovery.k8s.io/v1/EndpointSlice')

  function zoneOf(nodeName: string): string | undefined {
    return informers.nodes.get(undefined, nodeName)?.metadata?.labels?.[zoneLabel]
  }

  async function reconcile(key: string): Promise<void> {
    const { namespace = '', name } = parseKey(key)
    const service = informers.services.get(namespace, name)
    if (service === undefined || service.metadata?.deletionTimestamp !== undefined || !hasSelector(service)) {
      // Slices of a service that is gone go with it, by their owner reference.
      return
    }
    const wanted = renderEndpointSlices(service, selectedPods(context, service), { zoneOf })
    const current = informers.endpointSlices.byIndex(byService, key).filter(isManaged)
    const byName = new Map(current.map((slice) => [slice.metadata?.name, slice]))
    // What is new is written before what is old goes: a service that answers never looks empty.
    await Promise.all(wanted.map((slice) => put(slices, slice, byName.get(slice.metadata?.name), isSameSlice)))
    const names = new Set(wanted.map(({ metadata }) => metadata?.name))
    const spare = current.filter(({ metadata }) => !names.has(metadata?.name))
    await Promise.all(spare.map(({ metadata }) => ignoreNotFound(slices.delete(metadata?.name ?? '', { namespace }))))
  }

  function servicesOn({ metadata }: Node): string[] {
    const pods = informers.pods.byIndex(byNode, metadata?.name ?? '')
    const services = informers.services.list().filter((service) => pods.some((pod) => isSelected(service, pod)))
    return services.map(keyOf)
  }

  return runController({
    name: 'endpoint-slice',
    sources: [
      // The zones of nodes are known before the first slice is written.
      fromInformer(informers.nodes, (node, _event, old) => (isSameZone(node, old) ? [] : servicesOn(node))),
      ...servicesAndPods(context),
      fromInformer(informers.endpointSlices, (slice) => {
        const service = slice.metadata?.labels?.[serviceNameLabel]
        return service !== undefined && isManaged(slice) ? [`${slice.metadata?.namespace ?? ''}/${service}`] : []
      }),
    ],
    reconcile,
    concurrency: 8,
    signal,
    onError,
  })
}

function isSameZone(node: Node, old: Node | undefined): boolean {
  return node.metadata?.labels?.[zoneLabel] === old?.metadata?.labels?.[zoneLabel]
}

function isSelected(service: Service, pod: Pod): boolean {
  return service.metadata?.namespace === pod.metadata?.namespace && selectsPod(service, pod)
}

/** Keeps the legacy Endpoints object of services with a selector, for clients that do not read slices. */
export function runEndpointsController(context: ControllerContext): Promise<void> {
  const { client, informers, signal, onError } = context
  const endpoints = client.resource('v1/Endpoints')

  async function reconcile(key: string): Promise<void> {
    const { namespace = '', name } = parseKey(key)
    const service = informers.services.get(namespace, name)
    const current = informers.endpoints.get(namespace, name)
    if (service === undefined) {
      if (current !== undefined) {
        await ignoreNotFound(endpoints.delete(name, { namespace, uid: current.metadata?.uid }))
      }
    } else if (service.metadata?.deletionTimestamp === undefined && hasSelector(service)) {
      await put(endpoints, renderEndpoints(service, selectedPods(context, service)), current, isSameEndpoints)
    }
  }

  return runController({
    name: 'endpoints',
    sources: [
      ...servicesAndPods(context),
      fromInformer(informers.endpoints, ({ metadata }) => {
        // Those without a service are somebody's own, such as those of the API server.
        const isManagedHere = metadata?.labels?.['endpoints.kubernetes.io/managed-by'] === 'endpoint-controller'
        return isManagedHere ? [`${metadata.namespace ?? ''}/${metadata.name ?? ''}`] : []
      }),
    ],
    reconcile,
    concurrency: 8,
    signal,
    onError,
  })
}

function selectedPods({ informers }: ControllerContext, service: Service): Pod[] {
  return informers.pods.list(service.metadata?.namespace ?? '').filter((pod) => selectsPod(service, pod))
}

function servicesAndPods({ informers }: ControllerContext): Source[] {
  return [
    fromInformer(informers.services, (service) => [keyOf(service)]),
    fromInformer(informers.pods, (pod, _event, old) =>
      informers.services
        .list(pod.metadata?.namespace ?? '')
        .filter((service) => selectsPod(service, pod) || (old !== undefined && selectsPod(service, old)))
        .map(keyOf),
    ),
  ]
}

function isManaged({ metadata }: EndpointSlice): boolean {
  return metadata?.labels?.[managedByLabel] === sliceManager
}

/** Writes `wanted` unless `current` says the same. The cache may be behind either way. */
async function put<T extends KubeResource>(
  objects: ResourceClient<T>,
  wanted: T,
  current: T | undefined,
  isSame: (a: T, b: T) => boolean,
): Promise<void> {
  if (current !== undefined && isSame(wanted, current)) {
    return
  }
  try {
    await (current === undefined ? objects.create(wanted) : objects.update(wanted))
  } catch (error) {
    // Nobody is to be reached there any more.
    if (isNamespaceTerminating(error)) return
    if (isAlreadyExists(error)) {
      await objects.update(wanted)
    } else if (isNotFound(error) && current !== undefined) {
      await objects.create(wanted)
    } else {
      throw error
    }
  }
}

function isSameSlice(a: EndpointSlice, b: EndpointSlice): boolean {
  return (
    isDeepStrictEqual(a.metadata?.labels, b.metadata?.labels) &&
    isDeepStrictEqual(a.endpoints ?? [], b.endpoints ?? []) &&
    isDeepStrictEqual(a.ports ?? [], b.ports ?? [])
  )
}

function isSameEndpoints(a: Endpoints, b: Endpoints): boolean {
  return (
    isDeepStrictEqual(a.metadata?.labels, b.metadata?.labels) && isDeepStrictEqual(a.subsets ?? [], b.subsets ?? [])
  )
}
