import type { KubeClient } from '@fairlead/kube'
import type { Service } from '@fairlead/kube/types/core-v1'
import { balancerAddress, decideStatus, isSameStatus, shownAddress } from './load-balancer-plan.ts'
import type { BalancerHost, PortOutcome, WantedListener } from './load-balancer-plan.ts'
import type { ServiceTable } from './service-table.ts'

/** What the status of a Service tells of one of its listeners. */
export interface ListenerState {
  readonly wanted: WantedListener
  /** It listens. */
  readonly isOpen: boolean
  /** Why it does not; undefined while it listens, or is being opened. */
  readonly problem: string | undefined
}

/** Writes to LoadBalancer Services whether their addresses work. */
export interface BalancerStatuses {
  /** Writes the status of these Services (namespace/name) where it has changed; returns at once. */
  write(services: readonly string[]): void
  /** Writes nothing more; resolves when the write under way has ended. */
  close(): Promise<void>
}

/** Options of {@link createBalancerStatuses}. */
export interface BalancerStatusesOptions {
  readonly client: KubeClient
  readonly table: ServiceTable
  readonly host: BalancerHost
  /** Whether rules pass UDP on, at the address of each port. */
  readonly passesUdp: boolean
  readonly onError?: ((error: unknown) => void) | undefined
}

/** `listeners` tells those of all Services as they are now. */
export function createBalancerStatuses(
  listeners: () => readonly ListenerState[],
  { client, table, host, passesUdp, onError }: BalancerStatusesOptions,
): BalancerStatuses {
  const unwritten = new Set<string>()
  let writing: Promise<void> | undefined
  let closed = false

  function write(services: readonly string[]): void {
    for (const key of services) unwritten.add(key)
    writing ??= writeAll().finally(() => {
      writing = undefined
      if (unwritten.size > 0) write([])
    })
  }

  async function writeAll(): Promise<void> {
    for (const key of unwritten) {
      unwritten.delete(key)
      const service = table.entries.get(key)?.service
      if (service === undefined || closed) continue
      try {
        await writeOne(key, service)
      } catch (error) {
        onError?.(error)
      }
    }
  }

  async function writeOne(key: string, service: Service): Promise<void> {
    const status = decideStatus(service, outcomesOf(key, service), addressOf(key, service))
    if (status === undefined || isSameStatus(service.status, status)) return
    const { name = '', namespace = '' } = service.metadata ?? {}
    const body = { status: { loadBalancer: status.loadBalancer, conditions: status.conditions } }
    await client.resource('v1/Service').patch(name, { type: 'merge', body }, { namespace, subresource: 'status' })
  }

  /** What became of each port of a Service, or undefined while a listener is still being opened. */
  function outcomesOf(key: string, service: Service): PortOutcome[] | undefined {
    const outcomes: PortOutcome[] = []
    for (const { port, protocol = 'TCP' } of service.spec?.ports ?? []) {
      const own = listenersOf(key).find(({ wanted }) => wanted.port === port)
      const isPassed = protocol === 'UDP' && passesUdp
      const problem = isPassed ? undefined : own === undefined ? refusalOf(key, port, protocol) : own.problem
      if (own?.isOpen === false && problem === undefined) return undefined
      outcomes.push({ port, protocol, problem })
    }
    return outcomes
  }

  function listenersOf(key: string): ListenerState[] {
    return listeners().filter(({ wanted }) => wanted.service === key && wanted.kind === 'LoadBalancer')
  }

  function refusalOf(key: string, port: number, protocol: string): string {
    if (protocol !== 'TCP')
      return `Cannot serve ${protocol} port ${port}: only ${passesUdp ? 'TCP and UDP are' : 'TCP is'} passed on from the host`
    const holder = listeners().find(({ wanted }) => wanted.port === port && wanted.service !== key)
    const other = holder === undefined ? 'another Service' : `Service ${holder.wanted.service}`
    return `Cannot listen on port ${port}: ${other} has it; change spec.ports[].port of one of them`
  }

  function addressOf(key: string, service: Service): string {
    const [own] = listenersOf(key)
    return shownAddress(own?.wanted.host ?? balancerAddress(service, host), host)
  }

  return {
    write,
    async close() {
      closed = true
      await writing
    },
  }
}
