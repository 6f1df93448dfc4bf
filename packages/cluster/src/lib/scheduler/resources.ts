import { parseQuantity } from '@fairlead/kube/types'
import type { Container, Pod } from '@fairlead/kube/types/core-v1'

/** Amounts by resource name, in whole thousandths: CPUs are counted in millicores, and sums have no rounding errors. */
export type Amounts = ReadonlyMap<string, number>

/** A container without requests is scored as if it had these. */
const assumed: readonly (readonly [string, number])[] = [
  ['cpu', 100],
  ['memory', 200 * 2 ** 20 * 1000],
]

export function parseAmounts(list: Readonly<Record<string, string>> | undefined): Amounts {
  return new Map(
    Object.entries(list ?? {}).map(([name, quantity]) => [name, Math.ceil((parseQuantity(quantity) ?? 0) * 1000)]),
  )
}

function addAmounts(a: Amounts, b: Amounts): Amounts {
  return combine(a, b, (x, y) => x + y)
}

function maxAmounts(a: Amounts, b: Amounts): Amounts {
  return combine(a, b, Math.max)
}

function combine(a: Amounts, b: Amounts, join: (x: number, y: number) => number): Amounts {
  const joined = new Map(a)
  for (const [name, amount] of b) {
    joined.set(name, join(joined.get(name) ?? 0, amount))
  }
  return joined
}

const nothing: Amounts = new Map()

/** Pods out of the cache never change, and every pod on a node is asked each time a pod is placed. */
const remembered = new WeakMap<Pod, Amounts>()

/**
 * What a pod needs: its containers and sidecars together, or its hungriest init container with the sidecars started
 * before it, whichever is more; plus overhead. Requests of the pod itself come before those of its containers. While
 * a container is resized in place it needs the more of what it has and what it asks for (KEP-1287).
 */
export function requestsOf(pod: Pod): Amounts {
  const known = remembered.get(pod)
  const requests = known ?? addUp(pod, allocationOf(pod))
  if (known === undefined && Object.isFrozen(pod)) {
    remembered.set(pod, requests)
  }
  return requests
}

type RequestsOf = (container: Container) => Amounts

function addUp({ spec }: Pod, requestsOfOne: RequestsOf): Amounts {
  let sidecars = nothing
  let starting = nothing
  for (const container of spec?.initContainers ?? []) {
    if (container.restartPolicy === 'Always') {
      sidecars = addAmounts(sidecars, requestsOfOne(container))
      starting = maxAmounts(starting, sidecars)
    } else {
      starting = maxAmounts(starting, addAmounts(sidecars, requestsOfOne(container)))
    }
  }
  const running = (spec?.containers ?? []).map(requestsOfOne).reduce(addAmounts, sidecars)
  const ofPod = parseAmounts(spec?.resources?.requests)
  const needed = new Map([...maxAmounts(starting, running), ...ofPod])
  return addAmounts(needed, parseAmounts(spec?.overhead))
}

function requestsOfContainer({ resources }: Container): Amounts {
  // A limit without a request is the request, too.
  return parseAmounts({ ...resources?.limits, ...resources?.requests })
}

function allocationOf({ status }: Pod): RequestsOf {
  const statuses = [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])]
  const sized = statuses.filter(({ allocatedResources, resources }) => allocatedResources ?? resources?.requests)
  if (sized.length === 0) return requestsOfContainer
  const held = new Map(
    sized.map(({ name, allocatedResources, resources }) => [
      name,
      maxAmounts(parseAmounts(allocatedResources), parseAmounts(resources?.requests)),
    ]),
  )
  const isRefused = status?.conditions?.some(
    ({ type, reason }) => type === 'PodResizePending' && reason === 'Infeasible',
  )
  return (container) => {
    const has = held.get(container.name) ?? nothing
    // What is asked for and will never be given takes nothing.
    return isRefused === true && has !== nothing ? has : maxAmounts(requestsOfContainer(container), has)
  }
}

export interface ScoredRequests {
  readonly cpu: number
  readonly memory: number
}

const rememberedScores = new WeakMap<Pod, ScoredRequests>()

/** What a pod counts for when nodes are compared: containers that ask for nothing seem to cost something, too. */
export function scoredRequestsOf(pod: Pod): ScoredRequests {
  const known = rememberedScores.get(pod)
  if (known !== undefined) return known
  const requestsOfOne = allocationOf(pod)
  const amounts = addUp(pod, (container) => new Map([...assumed, ...requestsOfOne(container)]))
  const scored = { cpu: amounts.get('cpu') ?? 0, memory: amounts.get('memory') ?? 0 }
  if (Object.isFrozen(pod)) rememberedScores.set(pod, scored)
  return scored
}

/** A port of the host a pod asks for. */
export interface HostPort {
  readonly ip: string
  readonly protocol: string
  readonly port: number
}

export function hostPortsOf({ spec }: Pod): HostPort[] {
  return [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])]
    .flatMap(({ ports }) => ports ?? [])
    .map(({ hostIP, protocol, hostPort, containerPort }) => {
      const port = hostPort ?? (spec?.hostNetwork === true ? containerPort : 0)
      return { ip: hostIP === undefined || hostIP === '' ? '0.0.0.0' : hostIP, protocol: protocol ?? 'TCP', port }
    })
    .filter(({ port }) => port > 0)
}

/** Whether two pods cannot have these ports on one host. */
export function conflicts(a: HostPort, b: HostPort): boolean {
  const overlaps = a.ip === b.ip || a.ip === '0.0.0.0' || b.ip === '0.0.0.0'
  return a.port === b.port && a.protocol === b.protocol && overlaps
}
