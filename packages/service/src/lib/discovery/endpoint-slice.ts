import { isRecord, textAt } from './api.ts'
import type { Endpoint } from './endpoint.ts'
import type { Scheme } from './target.ts'

/** An EndpointSlice of `discovery.k8s.io/v1`, as far as it is read here. What comes from the API server is parsed to this. */
export interface Slice {
  readonly name: string
  readonly resourceVersion: string
  readonly addressType: string
  readonly ports: readonly SlicePort[]
  readonly endpoints: readonly SliceEndpoint[]
}

export interface SlicePort {
  readonly name: string
  readonly port: number
  readonly protocol: string
  readonly appProtocol: string | undefined
}

export interface SliceEndpoint {
  readonly addresses: readonly string[]
  readonly isReady: boolean
  readonly isServing: boolean
  readonly isTerminating: boolean
  readonly zone: string | undefined
  readonly forZones: readonly string[] | undefined
  /** Of the pod behind it: the same in the slices of both address families. */
  readonly uid: string | undefined
}

/** @throws {TypeError} when `value` is no EndpointSlice. */
export function parseSlice(value: unknown): Slice {
  const name = textAt(value, 'metadata', 'name')
  if (!isRecord(value) || name === undefined) throw new TypeError('an object of the answer is not an EndpointSlice')
  return {
    name,
    resourceVersion: textAt(value, 'metadata', 'resourceVersion') ?? '',
    addressType: textAt(value, 'addressType') ?? 'IPv4',
    ports: listOf(value['ports']).flatMap(parsePort),
    endpoints: listOf(value['endpoints']).map(parseEndpoint),
  }
}

function parsePort(value: unknown): SlicePort[] {
  const port = isRecord(value) ? value['port'] : undefined
  if (typeof port !== 'number') return []
  const [name = '', protocol = 'TCP'] = [textAt(value, 'name'), textAt(value, 'protocol')]
  return [{ name, port, protocol, appProtocol: textAt(value, 'appProtocol') }]
}

function parseEndpoint(value: unknown): SliceEndpoint {
  const record = isRecord(value) ? value : {}
  const conditions = isRecord(record['conditions']) ? record['conditions'] : {}
  // Unknown counts as true for ready, and serving is ready where it is not told (discovery.k8s.io/v1 EndpointConditions).
  const isReady = conditions['ready'] !== false
  const serving = conditions['serving']
  const zones = isRecord(record['hints']) ? listOf(record['hints']['forZones']) : []
  return {
    addresses: listOf(record['addresses']).filter((address) => typeof address === 'string'),
    isReady,
    isServing: typeof serving === 'boolean' ? serving : isReady,
    isTerminating: conditions['terminating'] === true,
    zone: textAt(record, 'zone'),
    forZones: zones.length === 0 ? undefined : zones.flatMap((zone) => textAt(zone, 'name') ?? []),
    uid: textAt(record, 'targetRef', 'uid'),
  }
}

export interface SliceSelection {
  readonly scheme: Scheme
  /** Name or number of the port in the slices; undefined: the only one. */
  readonly port: string | undefined
  /** Default: IPv4 where there is any, else IPv6. */
  readonly family?: 4 | 6 | undefined
}

/**
 * The endpoints in all slices of a Service. Ready ones, and terminating ones that still serve as such (KEP-1672), each pod once: while
 * it moves from slice to slice it may be in two.
 */
export function endpointsOf(slices: Iterable<Slice>, { scheme, port, family }: SliceSelection): Endpoint[] {
  const all = [...slices]
  const types = family === undefined ? ['IPv4', 'IPv6', 'FQDN'] : [family === 4 ? 'IPv4' : 'IPv6']
  for (const type of types) {
    const byKey = new Map<string, Endpoint>()
    for (const slice of all.filter(({ addressType }) => addressType === type)) {
      const found = findPort(slice.ports, port)
      if (found === undefined) continue
      for (const endpoint of slice.endpoints) {
        const usable = toEndpoint(endpoint, found.port, found.appProtocol === 'https' ? 'https' : scheme)
        if (usable === undefined) continue
        const key = endpoint.uid ?? `${usable.host}:${usable.port}`
        const other = byKey.get(key)
        if (other === undefined || other.isTerminating === true) byKey.set(key, usable)
      }
    }
    if (byKey.size > 0) return [...byKey.values()]
  }
  return []
}

function toEndpoint(endpoint: SliceEndpoint, port: number, scheme: Scheme): Endpoint | undefined {
  // All addresses of one endpoint are the same pod; consumers use the first.
  const [host] = endpoint.addresses
  if (host === undefined) return undefined
  const { isReady, isServing, isTerminating, zone, forZones } = endpoint
  if (isReady && !isTerminating) return { scheme, host, port, zone, forZones }
  return isServing && isTerminating ? { scheme, host, port, zone, forZones, isTerminating } : undefined
}

function findPort(ports: readonly SlicePort[], wanted: string | undefined): SlicePort | undefined {
  const tcp = ports.filter(({ protocol }) => protocol === 'TCP')
  if (wanted === undefined) return tcp.length === 1 ? tcp[0] : undefined
  return tcp.find(({ name }) => name === wanted) ?? tcp.find(({ port }) => String(port) === wanted)
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}
