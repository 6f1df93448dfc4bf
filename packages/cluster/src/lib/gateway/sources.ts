import { setTimeout as sleep } from 'node:timers/promises'
import { createInformer } from '@fairlead/kube/cache'
import type { Informer } from '@fairlead/kube/cache'
import type { KubeClient, KubeResource, ResourceClient } from '@fairlead/kube'
import type { Pod } from '@fairlead/kube/types/core-v1'
import type { EndpointSlice } from '@fairlead/kube/types/discovery-v1'
import { serviceNameLabel } from '../network/service-ports.ts'
import type { Custom, World } from './objects.ts'

/** The objects of a cluster that the gateway looks at, followed. */
export interface Sources {
  /** Begins to follow the objects by which the gateway is told what to do; those it then needs it follows from the first of them on. */
  start(): Promise<void>
  /** What is known now; as long as there is nothing to do, the classes alone. Waits for what had to be fetched first. */
  world(): Promise<World>
}

export interface SourcesOptions {
  readonly client: KubeClient
  readonly host: string
  readonly meshHost: string
  readonly signal: AbortSignal
  /** Something is different. */
  readonly onChange: () => void
  readonly onError?: ((error: unknown) => void) | undefined
}

/** How long the gateway waits for a kind that may not be there. */
const policyWaitMs = 5_000

const gatewayApi = 'gateway.networking.k8s.io/v1'
const istio = 'networking.istio.io/v1'

export function openSources(options: SourcesOptions): Sources {
  const { client, signal, onChange, onError } = options

  function follow<T extends KubeResource>(resource: ResourceClient<T>, transform?: (object: T) => T): Informer<T> {
    const informer = createInformer<T>(resource, { signal, onError, transform })
    informer.on((event, object, old) => {
      if (event !== 'update' || old === undefined || isDifferent(object, old)) onChange()
    })
    return informer
  }
  const custom = (apiVersion: string, kind: string): Informer<KubeResource> => follow(client.object(apiVersion, kind))

  const ingresses = follow(client.resource('networking.k8s.io/v1/Ingress'))
  const ingressClasses = follow(client.resource('networking.k8s.io/v1/IngressClass'))
  const gatewayClasses = custom(gatewayApi, 'GatewayClass')
  const gateways = custom(gatewayApi, 'Gateway')
  const httpRoutes = custom(gatewayApi, 'HTTPRoute')
  const grpcRoutes = custom(gatewayApi, 'GRPCRoute')
  const grants = custom('gateway.networking.k8s.io/v1beta1', 'ReferenceGrant')
  const backendTlsPolicies = custom(gatewayApi, 'BackendTLSPolicy')
  const istioGateways = custom(istio, 'Gateway')
  const virtualServices = custom(istio, 'VirtualService')
  const destinationRules = custom(istio, 'DestinationRule')
  const orders = [ingresses, ingressClasses, gatewayClasses, gateways, httpRoutes, grpcRoutes, grants]
  const all = [...orders, istioGateways, virtualServices, destinationRules]
  /** Any of these makes the gateway work. */
  const causes = [ingresses, gateways, httpRoutes, grpcRoutes, istioGateways, virtualServices]

  const services = follow(client.resource('v1/Service'))
  const slices = follow(client.resource('discovery.k8s.io/v1/EndpointSlice'))
  const pods = follow(client.resource('v1/Pod'), slimPod)
  const namespaces = follow(client.resource('v1/Namespace'))
  // Only from when some object asks for TLS.
  const secrets = follow(client.resource('v1/Secret'))
  const configMaps = follow(client.resource('v1/ConfigMap'))

  return {
    async start() {
      // Definitions of Gateway API before 1.4, put over ours, are without it: then there is nothing to wait for.
      const policies = Promise.race([backendTlsPolicies.start(), sleep(policyWaitMs, undefined, { ref: false })])
      await Promise.all([...all.map((informer) => informer.start()), policies])
    },
    async world() {
      const classes = { ingressClasses: ingressClasses.list(), gatewayClasses: gatewayClasses.list() }
      if (causes.every((informer) => informer.list().length === 0)) return { ...noWorld, ...classes }
      await Promise.all([services, slices, pods, namespaces].map((informer) => informer.start()))
      const known = {
        ingresses: ingresses.list(),
        gateways: gateways.list() as World['gateways'],
        istioGateways: istioGateways.list() as World['istioGateways'],
        backendTlsPolicies: backendTlsPolicies.list() as World['backendTlsPolicies'],
        destinationRules: destinationRules.list() as World['destinationRules'],
      }
      if (asksForTls(known)) await secrets.start()
      if (known.backendTlsPolicies.length > 0) await configMaps.start()
      return {
        ...known,
        services: byKey(services.list()),
        slices: bySlice(slices.list()),
        pods: byKey(pods.list()),
        secrets: byKey(secrets.list()),
        namespaces: new Map(namespaces.list().map((one) => [one.metadata?.name ?? '', one])),
        ...classes,
        httpRoutes: httpRoutes.list(),
        grpcRoutes: grpcRoutes.list(),
        grants: grants.list(),
        virtualServices: virtualServices.list(),
        configMaps: byKey(configMaps.list()),
        host: options.host,
        meshHost: options.meshHost,
      }
    },
  }
}

/** Statuses change often and are mostly ours; of those of others only what a pod is reached by matters. Parts that stayed are the same objects. */
function isDifferent(object: KubeResource, old: KubeResource): boolean {
  const { metadata, status: _, ...rest } = object as Custom<unknown, unknown>
  const { metadata: oldMetadata, status: __, ...oldRest } = old as Custom<unknown, unknown>
  if (metadata?.labels !== oldMetadata?.labels || metadata?.annotations !== oldMetadata?.annotations) return true
  const now: Record<string, unknown> = rest
  const before: Record<string, unknown> = oldRest
  return Object.keys({ ...now, ...before }).some((key) => now[key] !== before[key]) || podIpOf(object) !== podIpOf(old)
}

function podIpOf(object: KubeResource): string | undefined {
  return (object as Pod).status?.podIP
}

/** Labels, owner and address are all that is read of pods. */
function slimPod({ apiVersion, kind, metadata, status }: Pod): Pod {
  const { name, namespace, uid, resourceVersion, labels, ownerReferences } = metadata ?? {}
  const kept = { name, namespace, uid, resourceVersion, labels, ownerReferences }
  return { apiVersion, kind, metadata: kept, status: { podIP: status?.podIP } }
}

function byKey<T extends KubeResource>(objects: readonly T[]): Map<string, T> {
  return new Map(objects.map((object) => [`${object.metadata?.namespace}/${object.metadata?.name}`, object]))
}

function bySlice(slices: readonly EndpointSlice[]): Map<string, EndpointSlice[]> {
  return Map.groupBy(slices, ({ metadata }) => `${metadata?.namespace}/${metadata?.labels?.[serviceNameLabel]}`)
}

function asksForTls({
  ingresses,
  gateways,
  istioGateways,
  backendTlsPolicies,
  destinationRules,
}: Pick<World, 'ingresses' | 'gateways' | 'istioGateways' | 'backendTlsPolicies' | 'destinationRules'>): boolean {
  return (
    backendTlsPolicies.length > 0 ||
    destinationRules.some(({ spec }) => JSON.stringify(spec).includes('"credentialName"')) ||
    ingresses.some(({ spec }) => (spec?.tls ?? []).length > 0) ||
    gateways.some(({ spec }) => spec?.listeners?.some(({ tls }) => tls !== undefined) === true) ||
    istioGateways.some(({ spec }) => spec?.servers?.some(({ tls }) => tls?.credentialName !== undefined) === true)
  )
}

const noWorld: World = {
  services: new Map(),
  slices: new Map(),
  pods: new Map(),
  secrets: new Map(),
  namespaces: new Map(),
  ingresses: [],
  ingressClasses: [],
  gatewayClasses: [],
  gateways: [],
  backendTlsPolicies: [],
  configMaps: new Map(),
  httpRoutes: [],
  grpcRoutes: [],
  grants: [],
  istioGateways: [],
  virtualServices: [],
  destinationRules: [],
  host: '',
  meshHost: '',
}
