import { createBalancer } from './balancer.ts'
import type { BalancerOptions, EndpointBalancer } from './balancer.ts'
import { createConsulSource } from './consul.ts'
import type { ConsulSourceOptions } from './consul.ts'
import { createDnsSource, createSrvSource } from './dns.ts'
import type { DnsOptions } from './dns.ts'
import type { Endpoint } from './endpoint.ts'
import { targetInvalid } from './errors.ts'
import { createKubernetesSource } from './kubernetes.ts'
import type { KubernetesSourceOptions } from './kubernetes.ts'
import { createStaticSource } from './source.ts'
import type { EndpointSource } from './source.ts'
import { parseTarget } from './target.ts'
import type { ServiceTarget } from './target.ts'

/** How endpoints are looked up, by where. */
export interface SourceOptions {
  readonly dns?: DnsOptions | undefined
  readonly consul?: ConsulSourceOptions | undefined
  readonly kubernetes?: KubernetesSourceOptions | undefined
}

/**
 * The source of an address such as `k8s://shop/orders:http`, or of several `http://` addresses. Nothing is looked up yet.
 *
 * @throws {ServiceError} `FAIRLEAD_SERVICE_TARGET` when an address is none.
 */
export function createSource(target: string | readonly string[], options: SourceOptions = {}): EndpointSource {
  if (typeof target !== 'string') return createStaticSource(target.map(toEndpoint), target.join(', '))
  return sourceOf(parseTarget(target), target, options)
}

/** A balancer over the endpoints at `target`. */
export function openBalancer(
  target: string | readonly string[],
  options: BalancerOptions & SourceOptions = {},
): EndpointBalancer {
  return createBalancer(createSource(target, options), options)
}

function sourceOf(target: ServiceTarget, text: string, options: SourceOptions): EndpointSource {
  switch (target.kind) {
    case 'http':
      return createStaticSource([toEndpoint(text)], text)
    case 'dns':
      return createDnsSource(target, options.dns)
    case 'srv':
      return createSrvSource(target, options.dns)
    case 'consul':
      return createConsulSource(target, options.consul)
    case 'k8s':
      return createKubernetesSource(target, options.kubernetes)
  }
}

function toEndpoint(address: string): Endpoint {
  const target = parseTarget(address)
  if (target.kind !== 'http') throw targetInvalid(address, 'in a list only http:// and https:// addresses may stand')
  const { hostname, protocol, port } = target.url
  const scheme = protocol === 'https:' ? 'https' : 'http'
  const host = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname
  return { scheme, host, port: port === '' ? (scheme === 'https' ? 443 : 80) : Number(port) }
}
