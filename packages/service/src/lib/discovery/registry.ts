import { createBalancer } from './balancer.ts'
import type { BalancerOptions, EndpointBalancer } from './balancer.ts'
import { targetInvalid } from './errors.ts'
import { createSource } from './open.ts'
import type { SourceOptions } from './open.ts'
import type { EndpointSource } from './source.ts'

export interface DiscoveryOptions extends BalancerOptions, SourceOptions {
  /** Where the services are, by the names their clients use: an address, several `http://` addresses, or a source. */
  readonly services?: Readonly<Record<string, string | readonly string[] | EndpointSource>> | undefined
  /** For names not among the services, such as `(name) => 'k8s://shop/' + name + ':http'`. Default: they are host names. */
  readonly otherwise?: ((name: string) => string | undefined) | undefined
  /** Default `process.env`: FAIRLEAD_DISCOVERY adds services, and comes before those given. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
}

/** Knows where services are, so that programs name them and nothing more. */
export interface Discovery {
  /** A balancer over the endpoints of service `name`; undefined when it is a host name and no more. */
  balancer(name: string, options?: BalancerOptions): EndpointBalancer | undefined
}

/**
 * Where services are, for `client('http://orders', { discovery })`.
 *
 * `FAIRLEAD_DISCOVERY` may say it at deployment: `orders=k8s://shop/orders:http,stock=http://10.0.0.1:80|http://10.0.0.2:80`.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_TARGET` when an address is none.
 */
export function createDiscovery(options: DiscoveryOptions = {}): Discovery {
  const { services, otherwise, env = process.env, ...defaults } = options
  const known = new Map(Object.entries({ ...services, ...parseServices(env['FAIRLEAD_DISCOVERY'] ?? '') }))
  const toSource = (target: string | readonly string[] | EndpointSource): EndpointSource =>
    typeof target === 'object' && 'subscribe' in target ? target : createSource(target, defaults)
  // Now, and not with the first call: a wrong address is a mistake of whoever starts the service.
  const sources = new Map([...known].map(([name, target]) => [name, toSource(target)]))
  return {
    balancer(name, more) {
      const target = sources.has(name) ? undefined : otherwise?.(name)
      const source = sources.get(name) ?? (target === undefined ? undefined : toSource(target))
      return source && createBalancer(source, { name, ...defaults, ...more })
    },
  }
}

function parseServices(text: string): Record<string, string | readonly string[]> {
  const entries = text.split(',').map((entry) => entry.trim())
  return Object.fromEntries(
    entries
      .filter((entry) => entry !== '')
      .map((entry) => {
        const match = /^([\w.:-]+)=(.+)$/.exec(entry)
        if (match === null) throw targetInvalid(entry, 'FAIRLEAD_DISCOVERY is not a list of name=address')
        const [, name = '', address = ''] = match
        return [name, address.includes('|') ? address.split('|') : address]
      }),
  )
}
