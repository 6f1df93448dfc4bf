import type { Ingress, IngressBackend, IngressClass } from '@fairlead/kube/types/networking-v1'
import type { RequestMatch, Rule } from '../model.ts'
import type { World } from '../objects.ts'
import { keyPairOf } from './certificates.ts'
import type { ClusterTable } from './clusters.ts'
import { addRules } from './listeners.ts'
import type { ListenerTable } from './listeners.ts'

/** Names this gateway in IngressClasses and GatewayClasses. */
export const controllerName = 'fairlead.dev/gateway'
export const className = 'fairlead'

/** An Ingress of ours and the listeners it is served at. */
export interface IngressReport {
  readonly ingress: Ingress
  readonly listeners: readonly string[]
  /** What of it cannot be served. */
  readonly problems: readonly string[]
}

interface Path {
  readonly ingress: Ingress
  readonly path: string
  readonly isExact: boolean
  readonly backend: IngressBackend | undefined
}

/** Compiles Ingresses of our class: ports 80 and 443 of `world.host`, or others where those are not to be had. */
export function compileIngresses(world: World, clusters: ClusterTable, listeners: ListenerTable): IngressReport[] {
  const ours = world.ingresses.filter((ingress) => isOurs(ingress, world.ingressClasses)).toSorted(byAge)
  if (ours.length === 0) return []
  const http = listeners.open({ host: world.host, port: 80, kind: 'http', isFlexible: true })
  const certificates = ours.flatMap((ingress) => certificatesOf(ingress, world))
  const https =
    certificates.length === 0
      ? undefined
      : listeners.open({ host: world.host, port: 443, kind: 'https', isFlexible: true })
  https?.certificates.push(...certificates.map(({ certificate }) => certificate))
  for (const draft of [http, https]) {
    if (draft === undefined) continue
    draft.isFlexible = true
    for (const [hostname, rules] of rulesByHost(ours, clusters)) addRules(draft, hostname, rules)
  }
  return ours.map((ingress) => ({
    ingress,
    listeners: [http, (ingress.spec?.tls ?? []).length > 0 ? https : undefined].flatMap((draft) => draft?.key ?? []),
    problems: problemsOf(ingress, world, clusters),
  }))
}

function isOurs({ metadata, spec }: Ingress, classes: readonly IngressClass[]): boolean {
  const named = spec?.ingressClassName ?? metadata?.annotations?.['kubernetes.io/ingress.class']
  const chosen =
    named === undefined
      ? classes.find((one) => one.metadata?.annotations?.['ingressclass.kubernetes.io/is-default-class'] === 'true')
      : classes.find((one) => one.metadata?.name === named)
  return chosen?.spec?.controller === controllerName
}

/** The rules of each host, the longest path first (Ingress, "Multiple matches"), then what takes the rest. */
function rulesByHost(ingresses: readonly Ingress[], clusters: ClusterTable): Map<string, Rule[]> {
  const byHost = new Map<string, Path[]>()
  for (const ingress of ingresses) {
    for (const { host, http } of ingress.spec?.rules ?? []) {
      const paths = (http?.paths ?? []).map(({ path, pathType, backend }) => ({
        ingress,
        path: path === undefined || path === '' ? '/' : path,
        isExact: pathType === 'Exact',
        backend,
      }))
      // A host without paths sends everything to the default backend.
      const rest = { ingress, path: '/', isExact: false, backend: ingress.spec?.defaultBackend }
      const key = host === undefined || host === '' ? '*' : host.toLowerCase()
      byHost.set(key, [...(byHost.get(key) ?? []), ...(http === undefined ? [rest] : paths)])
    }
  }
  const defaults = ingresses.flatMap((ingress) => {
    const backend = ingress.spec?.defaultBackend
    return backend === undefined ? [] : [{ ingress, path: '/', isExact: false, backend }]
  })
  if (defaults.length > 0 && !byHost.has('*')) byHost.set('*', [])
  return new Map(
    [...byHost].map(([host, paths]) => [
      host,
      [...paths.toSorted(byPath), ...defaults].map((one) => ruleOf(one, clusters)),
    ]),
  )
}

function byPath(a: Path, b: Path): number {
  return lengthOf(b.path) - lengthOf(a.path) || Number(b.isExact) - Number(a.isExact)
}

/** `/a/` and `/a` are the same prefix. */
function lengthOf(path: string): number {
  return path.length > 1 && path.endsWith('/') ? path.length - 1 : path.length
}

function ruleOf({ ingress, path, isExact, backend }: Path, clusters: ClusterTable): Rule {
  const { namespace = '', name = '' } = ingress.metadata ?? {}
  const matches: RequestMatch[] = [{ path: { kind: isExact ? 'exact' : 'segments', value: path } }]
  const cluster = clusterOf(backend, ingress, clusters)
  return {
    route: `Ingress ${namespace}/${name}`,
    matches,
    action:
      cluster === undefined
        ? { kind: 'respond', status: 503, body: `the backend of ${path} does not exist` }
        : { kind: 'forward', targets: [{ weight: 1, cluster }] },
  }
}

/** What nginx calls `backend-protocol`, by far the best known way to say it; like there, certificates are not looked at. */
const protocolAnnotation = 'nginx.ingress.kubernetes.io/backend-protocol'

function clusterOf(
  backend: IngressBackend | undefined,
  { metadata }: Ingress,
  clusters: ClusterTable,
): string | undefined {
  const namespace = metadata?.namespace ?? ''
  const spoken = metadata?.annotations?.[protocolAnnotation]?.toUpperCase() ?? ''
  const { name: service, port } = backend?.service ?? {}
  if (service === undefined) return undefined
  return clusters.find({
    namespace,
    service,
    port: port?.number === undefined || port.number === 0 ? port?.name : port.number,
    ...(spoken.startsWith('GRPC') ? { protocol: 'h2c' as const } : {}),
    isSecured: spoken === 'HTTPS' || spoken === 'GRPCS',
  })
}

interface FoundCertificate {
  readonly certificate: { readonly hostname: string; readonly cert: string; readonly key: string }
}

function certificatesOf({ metadata, spec }: Ingress, world: World): FoundCertificate[] {
  return (spec?.tls ?? []).flatMap(({ hosts, secretName }) => {
    const pair = keyPairOf(world.secrets.get(`${metadata?.namespace}/${secretName}`))
    if (pair === undefined) return []
    const names = hosts === undefined || hosts.length === 0 ? ['*'] : hosts
    return names.map((hostname) => ({ certificate: { hostname: hostname.toLowerCase(), ...pair } }))
  })
}

function problemsOf(ingress: Ingress, world: World, clusters: ClusterTable): string[] {
  const { metadata, spec } = ingress
  const namespace = metadata?.namespace ?? ''
  const secrets = (spec?.tls ?? []).flatMap(({ secretName = '' }) =>
    keyPairOf(world.secrets.get(`${namespace}/${secretName}`)) === undefined
      ? [`Secret ${namespace}/${secretName} has no certificate with its key in tls.crt and tls.key`]
      : [],
  )
  const backends = [
    spec?.defaultBackend,
    ...(spec?.rules ?? []).flatMap(({ http }) => http?.paths.map(({ backend }) => backend) ?? []),
  ]
  const missing = backends.flatMap((backend) => {
    if (backend === undefined || clusterOf(backend, ingress, clusters) !== undefined) return []
    const { name, port } = backend.service ?? {}
    return [`Service ${namespace}/${name ?? '?'} has no port ${port?.name ?? port?.number ?? '?'}, or does not exist`]
  })
  return [...secrets, ...new Set(missing)]
}

/** The oldest first: where two ask for the same, it has it. */
export function byAge(
  a: {
    metadata?:
      | { creationTimestamp?: string | undefined; namespace?: string | undefined; name?: string | undefined }
      | undefined
  },
  b: typeof a,
): number {
  return textOf(a) < textOf(b) ? -1 : textOf(a) > textOf(b) ? 1 : 0
}

function textOf({ metadata }: Parameters<typeof byAge>[0]): string {
  return `${metadata?.creationTimestamp ?? ''} ${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`
}
