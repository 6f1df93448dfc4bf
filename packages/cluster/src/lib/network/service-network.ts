import { join } from 'node:path'
import { createInformer } from '@fairlead/kube/cache'
import type { KubeClient } from '@fairlead/kube'
import { addressAt, parseCidr } from './cidr.ts'
import { createForwarder, loadNameServers } from './dns-forwarder.ts'
import type { NameServer } from './dns-forwarder.ts'
import { publishDns } from './dns-service.ts'
import { openDnsServer } from './dns-server.ts'
import { servedHostPorts } from './host-ports.ts'
import { openLoadBalancer } from './load-balancer.ts'
import { openHealthChecks } from './health-checks.ts'
import { createPassages } from './passages.ts'
import type { Passages } from './passages.ts'
import { bridgeName, dnsAddressOf } from './plan.ts'
import type { PodNetwork } from './pod-network.ts'
import { openPolicyEnforcer } from './policy/enforcer.ts'
import type { PolicyEnforcer } from './policy/enforcer.ts'
import { reportUnenforced } from './policy/unenforced.ts'
import { serviceTablePath } from './preload-environment.ts'
import { openProcessTable } from './process-table.ts'
import type { Backend, NodePlace, ServedPort } from './service-ports.ts'
import { openServiceProxy } from './service-proxy.ts'
import type { ServiceProxy } from './service-proxy.ts'
import { createServiceTable } from './service-table.ts'

/** The Services of a cluster, reachable: virtual addresses, names, and listeners on the host; and who may reach whom. */
export interface ServiceNetwork {
  /** The pod network, whose pods are under their NetworkPolicies from the first moment on: to be used by the node agent. */
  readonly pods: PodNetwork
  /** The name server pods are given: the DNS Service where there are rules for it, else the server itself. */
  readonly nameServer: string
  /**
   * Has connections to Service ports go to one place instead of the endpoints (the gateway), by `namespace/name/port`; replaces what was
   * told before. Resolves when it is in force.
   */
  redirect(redirects: ReadonlyMap<string, Backend>): Promise<void>
  /** To be asked by whoever passes connections of others on to pods. */
  readonly passages: Passages
  /** Where the name server itself listens. */
  readonly dns: { readonly host: string; readonly port: number }
  /** Resolves when every Service and endpoint change seen so far is in force. */
  settled(): Promise<void>
  /** Ends the work of this process. What pods need to reach each other stays until the pod network is removed. */
  close(options?: { readonly graceMs?: number | undefined }): Promise<void>
}

/** Options of {@link openServiceNetwork}. */
export interface ServiceNetworkOptions {
  readonly client: KubeClient
  readonly network: PodNetwork
  /** The nodes this machine shows, where there are several: traffic policies and hints tell their pods apart. */
  readonly nodes?: readonly NodePlace[] | undefined
  /** Directory of the cluster, as given to the pod network. */
  readonly dir: string
  /** Where LoadBalancer Services listen. Default 127.0.0.1. */
  readonly listenAddress?: string | undefined
  /** Default `cluster.local`. */
  readonly domain?: string | undefined
  /** Name servers for everything outside the cluster. Default: those of the host. */
  readonly nameServers?: readonly NameServer[] | undefined
  /** Told of background work that failed and is tried again. */
  readonly onError?: ((error: unknown) => void) | undefined
}

/** Reads the cluster's Services and makes them reachable; resolves when those there are now work. */
export async function openServiceNetwork(options: ServiceNetworkOptions): Promise<ServiceNetwork> {
  const { client, network, domain = 'cluster.local', onError } = options
  const { plan } = network
  const stop = new AbortController()
  const watching = { signal: stop.signal, onError }
  const services = createInformer(client.resource('v1/Service'), watching)
  const slices = createInformer(client.resource('discovery.k8s.io/v1/EndpointSlice'), watching)
  const table = createServiceTable(services, slices, options.nodes)
  await using opened = new AsyncDisposableStack()
  opened.defer(() => {
    stop.abort()
    table.close()
  })
  await Promise.all([services.start(), slices.start()])

  const ownHost = plan.mode === 'namespaces' ? network.gateway : ownLoopback(plan.podCidr)
  const nameServers = options.nameServers ?? (await loadNameServers([ownHost, dnsAddressOf(plan)]))
  const dns = await openDnsServer({
    host: ownHost,
    preferredPort: 10_053,
    entries: table.entries,
    forwarder: createForwarder(nameServers),
    ranges: [plan.podCidr, plan.serviceCidr],
    domain,
  })
  opened.defer(() => dns.close())
  const path = serviceTablePath(join(options.dir, 'network'))
  const fixed = dnsPorts(dnsAddressOf(plan), dns)
  const rules =
    plan.mode === 'namespaces'
      ? await openServiceProxy({
          plan,
          table,
          fixed,
          hostPorts: hostPortsOfAttached(network),
          homes: homesOfAttached(network),
          onError,
        })
      : undefined
  const proxy = rules ?? (await openProcessTable({ path, table, domain, onError }))
  opened.defer(() => proxy.close())
  const policies =
    plan.mode === 'namespaces'
      ? await openPolicyEnforcer({ client, plan, dns: { ...dns, address: dnsAddressOf(plan) }, onError })
      : undefined
  opened.defer(() => policies?.close())
  const unenforced = policies === undefined ? reportUnenforced({ client, ...watching }) : undefined
  opened.defer(() => unenforced?.close())
  const passages = createPassages({ node: network.gateway, facts: () => policies?.facts })
  const balancer = openLoadBalancer({
    client,
    table,
    listenAddress: options.listenAddress,
    ownDevice: bridgeName(plan),
    passesUdp: plan.mode === 'namespaces',
    passages,
    onError,
  })
  const hosts = plan.mode === 'namespaces' ? ['127.0.0.1', network.gateway] : ['127.0.0.1']
  const checks = openHealthChecks({ table, hosts, onError })
  opened.defer(() => checks.close())
  if (plan.mode === 'namespaces') void publishDns({ client, address: dnsAddressOf(plan), dns, ...watching })

  const held = opened.move()
  let redirected: readonly Backend[] = []
  const nameServer = plan.mode === 'namespaces' ? dnsAddressOf(plan) : dns.host
  return {
    pods: policies === undefined || rules === undefined ? network : joinPods(network, rules, policies),
    async redirect(redirects) {
      const next = [...redirects.values()]
      // Open before anything leads there, and until nothing does any more.
      await policies?.openPassages([...redirected, ...next])
      redirected = next
      table.redirect(redirects)
      await proxy.settled()
      await policies?.openPassages(next)
    },
    passages,
    nameServer,
    dns: { host: dns.host, port: dns.port },
    async settled() {
      await proxy.settled()
      await policies?.settled()
    },
    async close(closing) {
      await balancer.close(closing)
      await held.disposeAsync()
    },
  }
}

/** Pods that are under their policies before they have their place, and then reached at their host ports. */
function joinPods(network: PodNetwork, rules: ServiceProxy, policies: PolicyEnforcer): PodNetwork {
  return {
    ...network,
    async attach(pod) {
      const attached = await network.attach(pod)
      await policies.protect(pod, attached.ip)
      await rules.setHome(attached.ip, pod.nodeName)
      await rules.setHostPorts(pod.uid, servedHostPorts(network.plan, pod.uid, attached.ip, pod.hostPorts ?? []))
      return attached
    },
    async detach(uid) {
      await rules.setHostPorts(uid, [])
      const left = network.attached().find((pod) => pod.uid === uid)
      if (left !== undefined) await rules.setHome(left.ip, undefined)
      await network.detach(uid)
      policies.forget(uid)
    },
  }
}

function homesOfAttached(network: PodNetwork): Map<string, string> {
  return new Map(network.attached().flatMap(({ ip, nodeName }) => (nodeName === undefined ? [] : [[ip, nodeName]])))
}

function hostPortsOfAttached(network: PodNetwork): Map<string, ServedPort[]> {
  const { plan } = network
  const withPorts = network.attached().filter(({ hostPorts = [] }) => hostPorts.length > 0)
  return new Map(withPorts.map(({ uid, ip, hostPorts = [] }) => [uid, servedHostPorts(plan, uid, ip, hostPorts)]))
}

/** The rules for the DNS Service hold whether or not its object is there: pods must not lose their names to a mistake. */
function dnsPorts(address: string, { host, port }: { host: string; port: number }): ServedPort[] {
  return (['udp', 'tcp'] as const).map((protocol) => ({
    key: `kube-system/kube-dns/${protocol === 'udp' ? 'dns' : 'dns-tcp'}/${protocol}`,
    addresses: [address],
    protocol,
    port: 53,
    backends: [{ ip: host, port }],
    isOwn: true,
  }))
}

/** Linux answers on all of 127/8, so each cluster can have its own; elsewhere there is one loopback address. */
function ownLoopback(podCidr: string): string {
  const range = parseCidr(podCidr)
  return process.platform === 'linux' && range !== undefined ? addressAt(range, 1) : '127.0.0.1'
}
