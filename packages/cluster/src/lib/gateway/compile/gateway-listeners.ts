import type { Service } from '@fairlead/kube/types/core-v1'
import type { Gateway, GatewayListener, ObjectRef, World } from '../objects.ts'
import { keyPairOf } from './certificates.ts'
import { assignAddresses } from './gateway-addresses.ts'
import { controllerName } from './ingress.ts'
import type { ListenerDraft, ListenerTable } from './listeners.ts'

const group = 'gateway.networking.k8s.io'
const routeKinds = ['HTTPRoute', 'GRPCRoute']

/** A condition as it is decided; times and generations are added when it is written. */
export interface Verdict {
  readonly type: string
  readonly isTrue: boolean
  readonly reason: string
  readonly message: string
}

/** A listener of a Gateway of ours. */
export interface ListenerReport {
  readonly listener: GatewayListener
  /** Kinds of routes it takes. */
  readonly kinds: readonly string[]
  readonly accepted: Verdict
  readonly resolved: Verdict
  readonly conflicted: Verdict
  /** Where it is served; undefined when it cannot be. */
  readonly draft: ListenerDraft | undefined
  attachedRoutes: number
}

/** A Gateway of ours. */
export interface GatewayReport {
  readonly gateway: Gateway
  readonly address: string
  readonly listeners: readonly ListenerReport[]
}

/** Decides which listeners of our Gateways are served, and opens them. */
export function compileGateways(world: World, listeners: ListenerTable): GatewayReport[] {
  const classes = new Set(
    world.gatewayClasses
      .filter(({ spec }) => spec?.controllerName === controllerName)
      .map(({ metadata }) => metadata?.name),
  )
  const ours = world.gateways.filter(({ spec }) => classes.has(spec?.gatewayClassName))
  const addresses = assignAddresses(ours, world)
  return ours.map((gateway) => {
    const address = addresses.get(gateway) ?? world.host
    const all = gateway.spec?.listeners ?? []
    return {
      gateway,
      address,
      listeners: all.map((listener) => compileListener(listener, gateway, { address, all, world, listeners })),
    }
  })
}

function compileListener(
  listener: GatewayListener,
  gateway: Gateway,
  to: { address: string; all: readonly GatewayListener[]; world: World; listeners: ListenerTable },
): ListenerReport {
  const { hostname = '*', port, protocol } = listener
  const { kinds, areValid } = kindsOf(listener)
  const isServable = protocol === 'HTTP' || protocol === 'HTTPS'
  const clash = clashOf(listener, to.all)
  const certificates = protocol === 'HTTPS' ? certificatesOf(listener, gateway, to.world) : []
  const broken = certificates.find((one) => 'reason' in one)
  const draft =
    isServable && clash === undefined && broken === undefined && kinds.length > 0
      ? to.listeners.open({ host: to.address, port, kind: protocol === 'HTTPS' ? 'https' : 'http' })
      : undefined
  for (const one of certificates)
    if ('cert' in one) draft?.certificates.push({ hostname, cert: one.cert, key: one.key })
  // A listener with a name takes all requests for it, also those that none of its routes match.
  if (draft !== undefined && !draft.hosts.has(hostname)) draft.hosts.set(hostname, [])
  return {
    listener,
    kinds,
    draft,
    attachedRoutes: 0,
    conflicted: verdict('Conflicted', clash !== undefined, clash?.reason ?? 'NoConflicts', clash?.message ?? ''),
    accepted: acceptedOf(isServable, clash, protocol),
    resolved: !areValid
      ? verdict(
          'ResolvedRefs',
          false,
          'InvalidRouteKinds',
          `of the kinds of routes only ${routeKinds.join(' and ')} are served`,
        )
      : broken !== undefined && 'reason' in broken
        ? verdict('ResolvedRefs', false, broken.reason, broken.message)
        : verdict('ResolvedRefs', true, 'ResolvedRefs', ''),
  }
}

export function verdict(type: string, isTrue: boolean, reason: string, message: string): Verdict {
  return { type, isTrue, reason, message }
}

function acceptedOf(
  isServable: boolean,
  clash: { reason: string; message: string } | undefined,
  protocol: string,
): Verdict {
  if (!isServable)
    return verdict('Accepted', false, 'UnsupportedProtocol', `protocol ${protocol} is not served, HTTP and HTTPS are`)
  if (clash !== undefined) return verdict('Accepted', false, clash.reason, clash.message)
  return verdict('Accepted', true, 'Accepted', '')
}

function kindsOf({ allowedRoutes, protocol }: GatewayListener): { kinds: string[]; areValid: boolean } {
  const served = protocol === 'HTTP' || protocol === 'HTTPS' ? routeKinds : []
  const wanted = allowedRoutes?.kinds
  if (wanted === undefined || wanted.length === 0) return { kinds: served, areValid: true }
  const isKnown = (one: { group?: string; kind: string }): boolean =>
    (one.group ?? group) === group && served.includes(one.kind)
  return { kinds: wanted.filter(isKnown).map(({ kind }) => kind), areValid: wanted.every(isKnown) }
}

/** Listeners of a Gateway that cannot be told apart; the first of them is no better than the others (GatewaySpec.listeners). */
function clashOf(
  listener: GatewayListener,
  all: readonly GatewayListener[],
): { reason: string; message: string } | undefined {
  for (const other of all) {
    if (other === listener || other.port !== listener.port) continue
    if (other.protocol !== listener.protocol) {
      return {
        reason: 'ProtocolConflict',
        message: `listener ${other.name} has port ${other.port} for ${other.protocol}`,
      }
    }
    if ((other.hostname ?? '*') === (listener.hostname ?? '*')) {
      return { reason: 'HostnameConflict', message: `listener ${other.name} has the same port and hostname` }
    }
  }
  return undefined
}

type FoundPair = { cert: string; key: string } | { reason: string; message: string }

function certificatesOf({ tls }: GatewayListener, { metadata }: Gateway, world: World): FoundPair[] {
  const refs = tls?.certificateRefs ?? []
  if (tls?.mode === 'Passthrough' || refs.length === 0) {
    return [{ reason: 'InvalidCertificateRef', message: 'HTTPS needs tls.mode Terminate and a certificateRef' }]
  }
  return refs.map((ref) => {
    const { kind = 'Secret', namespace = metadata?.namespace ?? '', name } = ref
    if (kind !== 'Secret' || (ref.group ?? '') !== '') {
      return { reason: 'InvalidCertificateRef', message: `certificateRef ${name} is not a Secret` }
    }
    if (
      !isGranted(
        world,
        { kind: 'Gateway', namespace: metadata?.namespace ?? '' },
        { kind: 'Secret', group: '', namespace, name },
      )
    ) {
      return { reason: 'RefNotPermitted', message: `no ReferenceGrant allows Secret ${namespace}/${name}` }
    }
    const pair = keyPairOf(world.secrets.get(`${namespace}/${name}`))
    return (
      pair ?? {
        reason: 'InvalidCertificateRef',
        message: `Secret ${namespace}/${name} has no certificate with its key`,
      }
    )
  })
}

/** Whether an object of one namespace may refer to one of another (ReferenceGrant). */
function isGranted(world: World, from: { kind: string; namespace: string }, to: Required<ObjectRef>): boolean {
  if (from.namespace === to.namespace) return true
  return world.grants.some(
    ({ metadata, spec }) =>
      metadata?.namespace === to.namespace &&
      spec?.from?.some(
        (one) => one.kind === from.kind && one.namespace === from.namespace && (one.group ?? '') === group,
      ) === true &&
      spec.to?.some(
        (one) =>
          one.kind === to.kind &&
          (one.group ?? '') === to.group &&
          (one.name === undefined || one.name === '' || one.name === to.name),
      ) === true,
  )
}

/** The Service of a backend reference, or why it is not to be had. */
export function resolveBackend(
  ref: ObjectRef & { port?: number },
  from: { kind: string; namespace: string },
  world: World,
): { service: Service; namespace: string } | { reason: string; message: string } {
  const { kind = 'Service', namespace = from.namespace, name } = ref
  if (kind !== 'Service' || (ref.group ?? '') !== '')
    return { reason: 'InvalidKind', message: `backendRef ${name} is not a Service` }
  if (!isGranted(world, from, { kind, group: '', namespace, name })) {
    return { reason: 'RefNotPermitted', message: `no ReferenceGrant allows Service ${namespace}/${name}` }
  }
  const service = world.services.get(`${namespace}/${name}`)
  const hasPort = service?.spec?.ports?.some(({ port }) => port === ref.port) === true
  if (service === undefined || !hasPort) {
    return {
      reason: 'BackendNotFound',
      message: `Service ${namespace}/${name} has no port ${ref.port ?? '?'}, or does not exist`,
    }
  }
  return { service, namespace }
}
