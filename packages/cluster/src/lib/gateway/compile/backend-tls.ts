import { createHash, X509Certificate } from 'node:crypto'
import type { SubjectName, UpstreamTls } from '../model.ts'
import type { BackendTlsPolicy, IstioTrafficPolicy, World } from '../objects.ts'
import { verdict } from './gateway-listeners.ts'
import type { Verdict } from './gateway-listeners.ts'
import { byAge } from './ingress.ts'

/** How the endpoints of a port are asked; undefined: without TLS. `broken`: not at all, as what it asks for is not there. */
export type BackendTls = UpstreamTls | 'broken' | undefined

/** Says how endpoints are asked with TLS; those that are asked alike share connections by its `key`. */
export function createUpstreamTls(
  parts: Omit<UpstreamTls, 'key' | 'clientKey'> & { clientKey?: string | undefined },
): UpstreamTls {
  const key = createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16)
  return { ...parts, key }
}

/** What became of a BackendTLSPolicy. */
export interface PolicyReport {
  readonly policy: BackendTlsPolicy
  readonly accepted: Verdict
  readonly resolved: Verdict
  readonly tls: UpstreamTls | 'broken'
}

/** The BackendTLSPolicies, the oldest first: where two are for the same, it holds (GEP-713). */
export function compilePolicies(world: World): PolicyReport[] {
  const taken = new Set<string>()
  return world.backendTlsPolicies.toSorted(byAge).map((policy) => {
    const { tls, ...authorities } = authoritiesOf(policy, world)
    const targets = targetsOf(policy)
    const isLate = targets.some((target) => taken.has(target))
    for (const target of targets) taken.add(target)
    const accepted = isLate
      ? verdict('Accepted', false, 'Conflicted', 'an older policy is for the same target')
      : authorities.accepted
    return { policy, accepted, resolved: authorities.resolved, tls }
  })
}

/** Services of a policy as `namespace/name` or `namespace/name/port name`. */
function targetsOf({ metadata, spec }: BackendTlsPolicy): string[] {
  const services = (spec?.targetRefs ?? []).filter(({ group, kind }) => group === '' && kind === 'Service')
  return services.map(({ name, sectionName }) => {
    const service = `${metadata?.namespace}/${name}`
    return sectionName === undefined || sectionName === '' ? service : `${service}/${sectionName}`
  })
}

/** Whether a policy is for a Service, at whichever of its ports. */
export function isForService(policy: BackendTlsPolicy, service: string): boolean {
  return targetsOf(policy).some((target) => target === service || target.startsWith(`${service}/`))
}

/** What policies ask for the port of a Service: the one for the port before the one for all. */
export function tlsByPolicy(reports: readonly PolicyReport[], service: string, portName: string): BackendTls {
  for (const wanted of [`${service}/${portName}`, service]) {
    const found = reports.find(
      ({ policy, accepted }) => accepted.reason !== 'Conflicted' && targetsOf(policy).includes(wanted),
    )
    if (found !== undefined) return found.tls
  }
  return undefined
}

type Authorities = Pick<PolicyReport, 'accepted' | 'resolved' | 'tls'>

function authoritiesOf(policy: BackendTlsPolicy, world: World): Authorities {
  const {
    hostname = '',
    wellKnownCACertificates,
    caCertificateRefs = [],
    subjectAltNames = [],
  } = policy.spec?.validation ?? {}
  const names = subjectAltNames.flatMap(nameOf)
  const tls = { serverName: hostname, names, isVerified: true }
  const fine = verdict('ResolvedRefs', true, 'ResolvedRefs', '')
  const accepted = verdict('Accepted', true, 'Accepted', '')
  if (wellKnownCACertificates === 'System') return { accepted, resolved: fine, tls: createUpstreamTls(tls) }
  const found = caCertificateRefs.map((ref) => authorityOf(ref, policy.metadata?.namespace ?? '', world))
  const bad = found.find((one) => 'reason' in one)
  const resolved = bad !== undefined && 'reason' in bad ? verdict('ResolvedRefs', false, bad.reason, bad.message) : fine
  const ca = found.flatMap((one) => ('ca' in one ? [one.ca] : []))
  if (ca.length > 0) return { accepted, resolved, tls: createUpstreamTls({ ...tls, ca: ca.join('\n') }) }
  const message = bad !== undefined && 'message' in bad ? bad.message : 'no authority is named'
  return { accepted: verdict('Accepted', false, 'NoValidCACertificate', message), resolved, tls: 'broken' }
}

function nameOf({ type, hostname, uri }: { type?: string; hostname?: string; uri?: string }): SubjectName[] {
  if (type === 'URI') return uri === undefined ? [] : [{ kind: 'uri', value: uri }]
  return hostname === undefined ? [] : [{ kind: 'dns', value: hostname }]
}

function authorityOf(
  { group, kind, name }: { group?: string; kind?: string; name: string },
  namespace: string,
  world: World,
): { ca: string } | { reason: string; message: string } {
  if (group !== '' || (kind !== 'ConfigMap' && kind !== 'Secret')) {
    return { reason: 'InvalidKind', message: `authorities are in ConfigMaps and Secrets, not in ${kind} ${name}` }
  }
  const key = `${namespace}/${name}`
  const text =
    kind === 'ConfigMap'
      ? world.configMaps.get(key)?.data?.['ca.crt']
      : decode(world.secrets.get(key)?.data?.['ca.crt'])
  if (text !== undefined && isCertificate(text)) return { ca: text }
  return { reason: 'InvalidCACertificateRef', message: `${kind} ${key} has no certificate in ca.crt` }
}

function isCertificate(text: string): boolean {
  try {
    return new X509Certificate(text).raw.length > 0
  } catch {
    return false
  }
}

function decode(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : Buffer.from(text, 'base64').toString()
}

/** What a DestinationRule asks for (ClientTLSSettings). `ISTIO_MUTUAL` is between sidecars, which there are none of. */
export function tlsOfRule(
  settings: IstioTrafficPolicy['tls'],
  { namespace, serverName, world }: { readonly namespace: string; readonly serverName: string; readonly world: World },
): BackendTls {
  const { mode = 'DISABLE', sni, subjectAltNames = [], credentialName, insecureSkipVerify = false } = settings ?? {}
  if (mode !== 'SIMPLE' && mode !== 'MUTUAL') return undefined
  const secret = (suffix: string): Readonly<Record<string, string>> =>
    world.secrets.get(`${namespace}/${credentialName ?? ''}${suffix}`)?.data ?? {}
  const [own, authority] = [secret(''), secret('-cacert')]
  const ca = decode(own['ca.crt'] ?? own['cacert'] ?? authority['cacert'] ?? authority['ca.crt'])
  const [cert, clientKey] = [decode(own['tls.crt'] ?? own['cert']), decode(own['tls.key'] ?? own['key'])]
  if (mode === 'MUTUAL' && (cert === undefined || clientKey === undefined)) return 'broken'
  const names = subjectAltNames.map((value) => ({
    kind: value.includes('://') ? ('uri' as const) : ('dns' as const),
    value,
  }))
  return createUpstreamTls({
    serverName: sni ?? serverName,
    names,
    isVerified: !insecureSkipVerify,
    ...(ca === undefined ? {} : { ca }),
    ...(mode === 'MUTUAL' ? { cert, clientKey } : {}),
  })
}
