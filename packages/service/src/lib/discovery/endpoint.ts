/** One instance of a service, as a source knows it. */
export interface Endpoint {
  /** IP address or host name; IPv6 without brackets. */
  readonly host: string
  readonly port: number
  /** Default `http`. */
  readonly scheme?: 'http' | 'https' | undefined
  /** Share of the calls compared with the others. Default 1. */
  readonly weight?: number | undefined
  /** Those of the lowest number are used while one of them is usable (RFC 2782). Default 0. */
  readonly priority?: number | undefined
  /** Where it runs. */
  readonly zone?: string | undefined
  /** Zones whose clients should use it (`hints.forZones` of EndpointSlices). */
  readonly forZones?: readonly string[] | undefined
  /** It still answers, and is about to end: used only when there is no other. */
  readonly isTerminating?: boolean | undefined
  /** What the Host header and the check of its certificate go by. Default: its address. */
  readonly authority?: string | undefined
}

/** What an endpoint is known by from one snapshot to the next, and its base address. */
export function urlOf({ scheme = 'http', host, port }: Endpoint): string {
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** The same set of instances in the same condition, whatever their order. */
export function isSameSnapshot(a: readonly Endpoint[], b: readonly Endpoint[]): boolean {
  if (a.length !== b.length) return false
  const known = new Map(a.map((endpoint) => [urlOf(endpoint), conditionOf(endpoint)]))
  return b.every((endpoint) => known.get(urlOf(endpoint)) === conditionOf(endpoint))
}

function conditionOf({ weight, priority, zone, forZones, isTerminating, authority }: Endpoint): string {
  return JSON.stringify([weight ?? 1, priority ?? 0, zone, forZones, isTerminating ?? false, authority])
}
