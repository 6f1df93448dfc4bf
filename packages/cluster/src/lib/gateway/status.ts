import { isDeepStrictEqual } from 'node:util'
import type { Condition } from '@fairlead/kube/types/meta-v1'
import type { IngressStatus } from '@fairlead/kube/types/networking-v1'
import { controllerName } from './compile/ingress.ts'
import type { IngressReport } from './compile/ingress.ts'
import { verdict } from './compile/gateway-listeners.ts'
import type { GatewayReport, ListenerReport, Verdict } from './compile/gateway-listeners.ts'
import type { RouteReport } from './compile/gateway-api.ts'
import { supportedFeatures } from './supported-features.ts'
import type { GatewayClass, RouteStatus } from './objects.ts'
import type { ListenerOutcome } from './plane/plane.ts'

export type Outcomes = ReadonlyMap<string, ListenerOutcome>

/** The conditions of these verdicts; one whose status did not change keeps its time. */
export function renderConditions(
  verdicts: readonly Verdict[],
  options: { known: readonly Condition[] | undefined; generation: number | undefined; now: string },
): Condition[] {
  const { known = [], generation, now } = options
  return verdicts.map(({ type, isTrue, reason, message }) => {
    const status = isTrue ? 'True' : 'False'
    const before = known.find((one) => one.type === type)
    return {
      type,
      status,
      reason,
      message,
      observedGeneration: generation,
      lastTransitionTime: before?.status === status ? before.lastTransitionTime : now,
    }
  })
}

export interface ClassStatus {
  readonly conditions: Condition[]
  readonly supportedFeatures: readonly { name: string }[]
}

export function renderClassStatus({ metadata, status }: GatewayClass, now: string): ClassStatus {
  const accepted = verdict('Accepted', true, 'Accepted', '')
  return {
    conditions: renderConditions([accepted], { known: status?.conditions, generation: metadata?.generation, now }),
    supportedFeatures,
  }
}

export interface GatewayStatus {
  readonly addresses: { type: string; value: string }[]
  readonly conditions: Condition[]
  readonly listeners: unknown[]
}

export function renderGatewayStatus(
  { gateway, address, listeners }: GatewayReport,
  outcomes: Outcomes,
  now: string,
): GatewayStatus {
  const generation = gateway.metadata?.generation
  const asked = gateway.spec?.addresses ?? []
  const isAddressed = asked.every(
    ({ type = 'IPAddress', value = address }) => type === 'IPAddress' && value === address,
  )
  const isServed = listeners.some((report) => outcomeOf(report, outcomes) === undefined)
  const areAccepted = listeners.every(({ accepted }) => accepted.isTrue)
  const accepted = verdict('Accepted', true, areAccepted ? 'Accepted' : 'ListenersNotValid', '')
  const programmed = !isAddressed
    ? verdict('Programmed', false, 'AddressNotAssigned', 'only loopback addresses can be had')
    : isServed
      ? verdict('Programmed', true, 'Programmed', '')
      : verdict('Programmed', false, 'Invalid', 'none of the listeners is served')
  const { status } = gateway
  return {
    addresses: [{ type: 'IPAddress', value: address }],
    conditions: renderConditions([accepted, programmed], { known: status?.conditions, generation, now }),
    listeners: listeners.map((report) =>
      renderListener(report, { outcomes, now, generation, known: status?.listeners }),
    ),
  }
}

/** Why a listener is not served; undefined when it is. */
function outcomeOf({ draft, accepted, resolved }: ListenerReport, outcomes: Outcomes): Verdict | undefined {
  if (draft === undefined)
    return verdict('Programmed', false, 'Invalid', accepted.isTrue ? resolved.message : accepted.message)
  const outcome = outcomes.get(draft.key)
  if (outcome === undefined) return verdict('Programmed', false, 'Pending', 'the port is being opened')
  return 'problem' in outcome ? verdict('Programmed', false, 'PortUnavailable', outcome.problem) : undefined
}

function renderListener(
  report: ListenerReport,
  context: { outcomes: Outcomes; now: string; generation: number | undefined; known: unknown[] | undefined },
): unknown {
  const { listener, kinds, attachedRoutes, accepted, resolved, conflicted } = report
  const known = (context.known as { name: string; conditions?: Condition[] }[] | undefined)?.find(
    ({ name }) => name === listener.name,
  )
  const failed = outcomeOf(report, context.outcomes)
  const taken = failed?.reason === 'PortUnavailable'
  const verdicts = [
    taken ? verdict('Accepted', false, 'PortUnavailable', failed.message) : accepted,
    failed ?? verdict('Programmed', true, 'Programmed', ''),
    resolved,
    conflicted,
  ]
  return {
    name: listener.name,
    supportedKinds: kinds.map((kind) => ({ group: 'gateway.networking.k8s.io', kind })),
    attachedRoutes,
    conditions: renderConditions(verdicts, { ...context, known: known?.conditions }),
  }
}

/** The status of a route: what other controllers said of their parents stays. */
export function renderRouteStatus({ route, parents }: RouteReport, now: string): Required<RouteStatus> {
  const known = route.status?.parents ?? []
  const others = known.filter((one) => one.controllerName !== controllerName)
  const own = parents.map(({ parentRef, verdicts }) => {
    const before = known.find((one) => one.controllerName === controllerName && sameRef(one.parentRef, parentRef))
    const generation = route.metadata?.generation
    return {
      parentRef,
      controllerName,
      conditions: renderConditions(verdicts, { known: before?.conditions, generation, now }),
    }
  })
  return { parents: [...others, ...own] }
}

function sameRef(a: { name: string }, b: { name: string }): boolean {
  return isDeepStrictEqual({ ...a }, { ...b })
}

/** Where an Ingress is reached. */
export function renderIngressStatus({ listeners }: IngressReport, outcomes: Outcomes, host: string): IngressStatus {
  const ports = listeners.flatMap((key) => {
    const outcome = outcomes.get(key)
    return outcome !== undefined && 'port' in outcome ? [{ port: outcome.port, protocol: 'TCP' }] : []
  })
  return { loadBalancer: ports.length === 0 ? {} : { ingress: [{ ip: host, ports }] } }
}
