import { type KubeClient, KubeError, type KubeResource } from '@fairlead/kube'

/** An object by which clients outside of the cluster reach services, and where. */
export interface Entrance {
  readonly kind: 'Ingress' | 'Gateway'
  readonly namespace: string
  readonly name: string
  /** `ip:port` each; none while it is not served. */
  readonly addresses: readonly string[]
  readonly hostnames: readonly string[]
}

const kinds = [
  { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress' },
  { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'Gateway' },
] as const
/** Enough for a terminal. */
const most = 50
const deadlineMs = 5_000

/** The Ingresses and Gateways of a cluster, as their statuses tell. None where their kinds are not installed, or nobody answers. */
export async function listEntrances(client: KubeClient, signal: AbortSignal): Promise<Entrance[]> {
  const scope = AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)])
  const lists = kinds.map(async ({ apiVersion, kind }) => {
    const { items } = await client.object(apiVersion, kind).list({ allNamespaces: true, limit: most, signal: scope })
    return items.map((object) => toEntrance(kind, object))
  })
  const found = await Promise.all(lists.map((list) => list.catch(ignoreUnanswered(signal))))
  return found.flat()
}

function ignoreUnanswered(signal: AbortSignal): (error: unknown) => Entrance[] {
  return (error) => {
    signal.throwIfAborted()
    const isAbsent = error instanceof Error && 'code' in error && error.code === 'FAIRLEAD_KUBE_KIND'
    if (isAbsent || error instanceof KubeError || (error instanceof DOMException && error.name === 'TimeoutError')) {
      return []
    }
    throw error
  }
}

interface IngressShape extends KubeResource {
  readonly spec?: { readonly rules?: readonly { readonly host?: string }[] }
  readonly status?: {
    readonly loadBalancer?: { readonly ingress?: readonly { ip?: string; ports?: readonly { port: number }[] }[] }
  }
}

interface GatewayShape extends KubeResource {
  readonly spec?: { readonly listeners?: readonly { name: string; port: number; hostname?: string }[] }
  readonly status?: {
    readonly addresses?: readonly { readonly value?: string }[]
    readonly listeners?: readonly { name: string; conditions?: readonly { type: string; status: string }[] }[]
  }
}

/** Where an object says it is reached. */
export function toEntrance(kind: Entrance['kind'], object: KubeResource): Entrance {
  const { name = '', namespace = '' } = object.metadata ?? {}
  const { addresses, hostnames } = kind === 'Ingress' ? ofIngress(object) : ofGateway(object)
  return { kind, namespace, name, addresses: [...new Set(addresses)], hostnames: [...new Set(hostnames)] }
}

function ofIngress({ spec, status }: IngressShape): Pick<Entrance, 'addresses' | 'hostnames'> {
  const places = status?.loadBalancer?.ingress ?? []
  return {
    addresses: places.flatMap(({ ip = '', ports = [] }) => ports.map(({ port }) => `${ip}:${port}`)),
    hostnames: spec?.rules?.flatMap(({ host }) => host ?? []) ?? [],
  }
}

function ofGateway({ spec, status }: GatewayShape): Pick<Entrance, 'addresses' | 'hostnames'> {
  const served = (spec?.listeners ?? []).filter(({ name }) =>
    status?.listeners
      ?.find((one) => one.name === name)
      ?.conditions?.some(({ type, status: is }) => type === 'Programmed' && is === 'True'),
  )
  const places = status?.addresses?.flatMap(({ value }) => value ?? []) ?? []
  return {
    addresses: places.flatMap((ip) => served.map(({ port }) => `${ip}:${port}`)),
    hostnames: served.flatMap(({ hostname }) => hostname ?? []),
  }
}

/** One line of `fairlead cluster status`. */
export function renderEntrance({ kind, namespace, name, addresses, hostnames }: Entrance): string {
  const place = addresses.length === 0 ? 'is not served' : `at ${addresses.join(', ')}`
  return `${kind} ${namespace}/${name} ${place}${hostnames.length === 0 ? '' : ` for ${hostnames.join(', ')}`}`
}
