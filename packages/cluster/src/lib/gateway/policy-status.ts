import { isDeepStrictEqual } from 'node:util'
import { isForService } from './compile/backend-tls.ts'
import type { PolicyReport } from './compile/backend-tls.ts'
import type { Compiled } from './compile/compile.ts'
import type { RouteReport } from './compile/gateway-api.ts'
import { controllerName } from './compile/ingress.ts'
import type { BackendRef, BackendTlsPolicy, ParentRef } from './objects.ts'
import { renderConditions } from './status.ts'

type PolicyStatus = Required<NonNullable<BackendTlsPolicy['status']>>

/** The bound of the definition. */
const mostAncestors = 16

/** What is said of BackendTLSPolicies: at each of our Gateways whose routes lead to a Service that a policy is for (GEP-713). */
export function policyStatuses(
  { tlsPolicies, gatewayApi: { routes } }: Pick<Compiled, 'tlsPolicies' | 'gatewayApi'>,
  now: string,
): { policy: BackendTlsPolicy; status: PolicyStatus }[] {
  return tlsPolicies.flatMap((report) => {
    const { policy } = report
    const known = policy.status?.ancestors ?? []
    const others = known.filter((one) => one.controllerName !== controllerName)
    const own = ancestorsOf(policy, routes).map((ancestorRef) => renderAncestor(report, ancestorRef, now))
    // Nothing is said, and nothing was.
    if (own.length === 0 && others.length === known.length) return []
    return [{ policy, status: { ancestors: [...others, ...own].slice(0, mostAncestors) } }]
  })
}

function renderAncestor(
  { policy, accepted, resolved }: PolicyReport,
  ancestorRef: ParentRef,
  now: string,
): PolicyStatus['ancestors'][number] {
  const before = policy.status?.ancestors?.find(
    (one) => one.controllerName === controllerName && isDeepStrictEqual({ ...one.ancestorRef }, { ...ancestorRef }),
  )
  const options = { known: before?.conditions, generation: policy.metadata?.generation, now }
  return { ancestorRef, controllerName, conditions: renderConditions([accepted, resolved], options) }
}

function ancestorsOf(policy: BackendTlsPolicy, routes: readonly RouteReport[]): ParentRef[] {
  const found = new Map<string, ParentRef>()
  for (const { route, parents } of routes) {
    const own = route.metadata?.namespace ?? ''
    const rules: readonly { backendRefs?: BackendRef[] }[] = route.spec?.rules ?? []
    const refs = rules.flatMap(({ backendRefs = [] }) => backendRefs)
    if (!refs.some((ref) => leadsTo(policy, ref, own))) continue
    for (const { parentRef } of parents) {
      if ((parentRef.kind ?? 'Gateway') !== 'Gateway') continue
      const { name, namespace = own } = parentRef
      found.set(`${namespace}/${name}`, { group: 'gateway.networking.k8s.io', kind: 'Gateway', namespace, name })
    }
  }
  return [...found.values()]
}

function leadsTo(policy: BackendTlsPolicy, { namespace, name }: BackendRef, own: string): boolean {
  const place = namespace ?? own
  return place === policy.metadata?.namespace && isForService(policy, `${place}/${name}`)
}
