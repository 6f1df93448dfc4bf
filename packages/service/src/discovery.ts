/**
 * Finding the instances of a service and spreading calls over them: DNS, SRV, Consul, Kubernetes EndpointSlices or a list;
 * power of two choices by latency, ejection of bad instances, slow start, zones. A client takes the address itself:
 * `client('k8s://shop/orders:http')`.
 *
 * ```ts
 * import { createBalancer, createStaticSource } from '@fairlead/service/discovery'
 *
 * const source = createStaticSource([
 *   { host: '10.0.0.7', port: 8080 },
 *   { host: '10.0.0.8', port: 8080 },
 * ])
 * using balancer = createBalancer(source, { name: 'orders' })
 * const picked = await balancer.pick()
 * picked.done('success', 12)
 * console.log(picked.url, balancer.health())
 * ```
 */
export { createBalancer } from './lib/discovery/balancer.ts'
export type { BalancerHealth, BalancerOptions, EndpointBalancer, EndpointState } from './lib/discovery/balancer.ts'
export type { ConsulOptions } from './lib/discovery/consul-api.ts'
export { registerInConsul } from './lib/discovery/consul-registration.ts'
export type { ConsulRegistration, ConsulRegistrationOptions } from './lib/discovery/consul-registration.ts'
export { createConsulSource } from './lib/discovery/consul.ts'
export type { ConsulSourceOptions } from './lib/discovery/consul.ts'
export { createDnsSource, createSrvSource } from './lib/discovery/dns.ts'
export type { DnsOptions, DnsResolver, DnsSearch } from './lib/discovery/dns.ts'
export type { Endpoint } from './lib/discovery/endpoint.ts'
export { createKubernetesSource } from './lib/discovery/kubernetes.ts'
export type { KubernetesSourceOptions } from './lib/discovery/kubernetes.ts'
export { createSource } from './lib/discovery/open.ts'
export type { SourceOptions } from './lib/discovery/open.ts'
export type { OutlierOptions } from './lib/discovery/outlier.ts'
export { createDiscovery } from './lib/discovery/registry.ts'
export type { Discovery, DiscoveryOptions } from './lib/discovery/registry.ts'
export { createStaticSource, watchEndpoints } from './lib/discovery/source.ts'
export type { EndpointSource, SourceObserver, SourceSubscription } from './lib/discovery/source.ts'
export type { Strategy } from './lib/discovery/strategy.ts'
