import { networkInterfaces } from 'node:os'
import { createEventRecorder } from '@fairlead/kube/controller'
import type { KubeClient } from '@fairlead/kube'
import type { Service } from '@fairlead/kube/types/core-v1'
import { isAllowedClient, wantedListeners } from './load-balancer-plan.ts'
import type { BalancerHost, WantedListener } from './load-balancer-plan.ts'
import { createBalancerStatuses } from './load-balancer-status.ts'
import type { Passages } from './passages.ts'
import type { Backend, ServedPort } from './service-ports.ts'
import type { ServiceTable } from './service-table.ts'
import { openTcpProxy } from './tcp-proxy.ts'
import type { TcpProxy } from './tcp-proxy.ts'
import { codeOf, messageOf } from '../errors.ts'

/** Serves LoadBalancer and NodePort Services on loopback addresses of the host. */
export interface LoadBalancer {
  /** Stops listening; connections still open get `graceMs` (default 0). */
  close(options?: { readonly graceMs?: number | undefined }): Promise<void>
}

/** Options of {@link openLoadBalancer}. */
export interface LoadBalancerOptions {
  readonly client: KubeClient
  readonly table: ServiceTable
  /** Where LoadBalancer Services listen unless they name an address of the host themselves. Default 127.0.0.1. */
  readonly listenAddress?: string | undefined
  /** The bridge of the cluster, whose address is no address of the host to others. */
  readonly ownDevice?: string | undefined
  /** Whether rules pass UDP on, at the address of each port. Default false. */
  readonly passesUdp?: boolean | undefined
  /** Who may be reached by whom. Default: all by everybody. */
  readonly passages?: Passages | undefined
  readonly onError?: ((error: unknown) => void) | undefined
}

interface Listener {
  wanted: WantedListener
  proxy?: TcpProxy | undefined
  problem?: string | undefined
  timer?: NodeJS.Timeout | undefined
  attempts: number
  isGone: boolean
}

/** How long connections to a Service that is gone may go on. */
const drainMs = 30_000
const firstRetryMs = 100
const lastRetryMs = 2_000

/**
 * Opens a listener per port, and writes to each LoadBalancer Service whether its address works. A port that another
 * program holds is an Event on the Service and is tried again until it is free.
 */
export function openLoadBalancer(options: LoadBalancerOptions): LoadBalancer {
  const { client, table, listenAddress = '127.0.0.1', onError } = options
  const events = createEventRecorder(client, 'fairlead-load-balancer', { onError })
  const listeners = new Map<string, Listener>()
  /** No longer listening, with connections that may still go on. */
  const leaving = new Set<TcpProxy>()
  let closed = false

  const host: BalancerHost = {
    listenAddress,
    // Asked anew each time, and only when a Service asks for one: machines change their networks.
    get addresses() {
      return hostAddresses(options.ownDevice)
    },
  }

  const statuses = createBalancerStatuses(
    () =>
      [...listeners.values()].map(({ wanted, proxy, problem }) => ({ wanted, isOpen: proxy !== undefined, problem })),
    { client, table, host, passesUdp: options.passesUdp === true, onError },
  )

  table.onChange(update)
  update([...table.entries.keys()])

  function update(changed: readonly string[]): void {
    if (closed) return
    const wanted = wantedListeners(table.entries, host)
    for (const [address, listener] of listeners) {
      if (!wanted.has(address)) drop(address, listener)
    }
    for (const [address, want] of wanted) {
      const listener = listeners.get(address)
      if (listener === undefined) add(address, want)
      else listener.wanted = want
    }
    statuses.write(changed)
  }

  function add(address: string, wanted: WantedListener): void {
    const listener: Listener = { wanted, attempts: 0, isGone: false }
    listeners.set(address, listener)
    void open(listener)
  }

  function drop(address: string, listener: Listener): void {
    listeners.delete(address)
    listener.isGone = true
    clearTimeout(listener.timer)
    const { proxy } = listener
    if (proxy === undefined) return
    leaving.add(proxy)
    void proxy.close({ graceMs: drainMs }).finally(() => leaving.delete(proxy))
  }

  async function open(listener: Listener): Promise<void> {
    const { host, port } = listener.wanted
    try {
      const isAllowed = (client: string): boolean => isAllowedClient(listener.wanted.sourceRanges, client)
      const backends = (address: string): readonly Backend[] => backendsOf(listener.wanted, address)
      const affinitySeconds = (): number | undefined => affinityOf(listener.wanted)
      const proxy = await openTcpProxy({
        host,
        port,
        isAllowed,
        backends,
        affinitySeconds,
        onPass: (connection, address) => options.passages?.note(connection, address),
      })
      if (listener.isGone) return await proxy.close()
      listener.proxy = proxy
      listener.problem = undefined
    } catch (error) {
      if (listener.isGone) return
      report(listener, error)
      const delayMs = Math.min(firstRetryMs * 2 ** listener.attempts++, lastRetryMs)
      listener.timer = setTimeout(() => void open(listener), delayMs)
    }
    statuses.write([listener.wanted.service])
  }

  function servedBy({ service, key }: WantedListener): ServedPort | undefined {
    return table.entries.get(service)?.ports.find((port) => port.key === key)
  }

  function affinityOf(wanted: WantedListener): number | undefined {
    const served = servedBy(wanted)
    return served?.redirect === undefined ? served?.affinitySeconds : undefined
  }

  function backendsOf(wanted: WantedListener, address: string): readonly Backend[] {
    const served = servedBy(wanted)
    // Behind a redirect it is the gateway that asks who may be reached.
    if (served?.redirect !== undefined) return [served.redirect]
    const backends = served?.externalBackends ?? served?.backends ?? []
    const permits = options.passages?.permissionOf(address)
    return permits === undefined ? backends : backends.filter(({ ip, port }) => permits(ip, port))
  }

  function report(listener: Listener, error: unknown): void {
    const problem = explain(listener.wanted, error)
    const isNew = listener.problem !== problem
    listener.problem = problem
    const service = table.entries.get(listener.wanted.service)?.service
    if (!isNew || service === undefined) return
    const reason = listener.wanted.kind === 'LoadBalancer' ? 'SyncLoadBalancerFailed' : 'NodePortUnavailable'
    events.record(withKind(service), { type: 'Warning', reason, message: problem })
  }

  return {
    async close(closing = {}) {
      closed = true
      const written = statuses.close()
      await Promise.all(
        [...listeners.values()].map(async (listener) => {
          listener.isGone = true
          clearTimeout(listener.timer)
          await listener.proxy?.close(closing)
        }),
      )
      // Their Services went before, with a longer grace, which is over now.
      await Promise.all([...leaving].map((proxy) => proxy.close(closing)))
      await written
      await events.flush()
    },
  }
}

/** The IPv4 addresses of the machine, but for those of the device. */
function hostAddresses(ownDevice = ''): string[] {
  return Object.entries(networkInterfaces())
    .filter(([name]) => name !== ownDevice)
    .flatMap(([, addresses = []]) => addresses)
    .filter(({ family }) => family === 'IPv4')
    .map(({ address }) => address)
}

/** Objects of a list carry no kind of their own; an Event needs one to refer to. */
function withKind(service: Service): Service {
  return { ...service, apiVersion: 'v1', kind: 'Service' }
}

function explain({ host, port }: WantedListener, error: unknown): string {
  const code = codeOf(error)
  if (code === 'EADDRINUSE') {
    return `Cannot listen on ${host}:${port}: another program uses the port; stop it, or change the port of the Service (trying again every 2 s)`
  }
  if (code === 'EACCES') {
    return `Cannot listen on ${host}:${port}: ports below 1024 need privileges; use a higher port, or lower net.ipv4.ip_unprivileged_port_start`
  }
  return `Cannot listen on ${host}:${port}: ${messageOf(error)}`
}
