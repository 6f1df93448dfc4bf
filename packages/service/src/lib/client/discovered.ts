import type { BalancerHealth, BalancerOptions, EndpointBalancer } from '../discovery/balancer.ts'
import type { SourceOptions } from '../discovery/open.ts'
import type { Discovery } from '../discovery/registry.ts'
import type { Strategy } from '../discovery/strategy.ts'
import { parseTarget } from '../discovery/target.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Balancer, PickedEndpoint } from './balancer.ts'

/** How the endpoints of an address are found and chosen. */
export type BalanceOptions = Strategy | (BalancerOptions & SourceOptions)

/** A balancer a client opened itself, and closes. */
export interface OwnBalancer extends Balancer, Disposable {
  health(): BalancerHealth | undefined
}

/** What a client calls when it is given an address: one base address, or a balancer over what is found there. */
export interface Destination {
  readonly base: URL | undefined
  readonly balancer: OwnBalancer | undefined
  /** Of the service. */
  readonly name: string
}

/** @throws {ServiceError} `FAIRLEAD_SERVICE_TARGET` when `address` is none. */
export function toDestination(
  address: string,
  options: {
    readonly name?: string | undefined
    readonly balance?: BalanceOptions | undefined
    readonly discovery?: Discovery | undefined
    readonly metrics?: Metrics | undefined
  },
): Destination {
  const { balance, discovery, metrics } = options
  const given = typeof balance === 'string' ? { strategy: balance } : balance
  if (/^https?:/i.test(address)) {
    const base = new URL(address.endsWith('/') ? address : `${address}/`)
    const name = options.name ?? base.host
    return { base, name, balancer: discovery?.balancer(base.host, { metrics, ...given, name }) }
  }
  const target = parseTarget(address)
  const name = options.name ?? ('service' in target ? target.service : 'host' in target ? target.host : address)
  // Loaded with the first call: services whose callers find their instances by other means do not pay for it.
  const open = async (): Promise<EndpointBalancer> => {
    const { openBalancer } = await import('../discovery/open.ts')
    return openBalancer(address, { metrics, ...given, name })
  }
  return { base: undefined, name, balancer: new LateBalancer(open) }
}

class LateBalancer implements OwnBalancer {
  readonly #open: () => Promise<EndpointBalancer>
  #opening: Promise<EndpointBalancer> | undefined
  #balancer: EndpointBalancer | undefined
  #isClosed = false

  constructor(open: () => Promise<EndpointBalancer>) {
    this.#open = open
  }

  pick(tried?: readonly string[]): PickedEndpoint | Promise<PickedEndpoint> {
    if (this.#balancer !== undefined) return this.#balancer.pick(tried)
    this.#opening ??= this.#load()
    return this.#opening.then((balancer) => balancer.pick(tried))
  }

  health(): BalancerHealth | undefined {
    return this.#balancer?.health()
  }

  [Symbol.dispose](): void {
    this.#isClosed = true
    this.#balancer?.[Symbol.dispose]()
  }

  async #load(): Promise<EndpointBalancer> {
    this.#balancer = await this.#open()
    if (this.#isClosed) this.#balancer[Symbol.dispose]()
    return this.#balancer
  }
}
