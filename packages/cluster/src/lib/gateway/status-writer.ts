import { isDeepStrictEqual } from 'node:util'
import { isConflict, isNotFound } from '@fairlead/kube'
import type { KubeClient, KubeResource } from '@fairlead/kube'
import type { Compiled } from './compile/compile.ts'
import { controllerName } from './compile/ingress.ts'
import type { World } from './objects.ts'
import { policyStatuses } from './policy-status.ts'
import { renderClassStatus, renderGatewayStatus, renderIngressStatus, renderRouteStatus } from './status.ts'
import type { Outcomes } from './status.ts'

const gatewayApi = 'gateway.networking.k8s.io/v1'

/** Writes to objects what became of them, where that differs from what they say. */
export async function writeStatuses(
  client: KubeClient,
  world: World,
  compiled: Compiled,
  outcomes: Outcomes,
): Promise<void> {
  const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z')
  const write = async (apiVersion: string, kind: string, object: KubeResource, status: object): Promise<void> => {
    const known: unknown = 'status' in object ? object.status : undefined
    // What is absent and what is undefined are the same once written.
    const wanted: unknown = JSON.parse(JSON.stringify(status))
    if (isDeepStrictEqual(known ?? {}, wanted)) return
    const { name = '', namespace, resourceVersion } = object.metadata ?? {}
    const body = { metadata: { resourceVersion }, status: wanted }
    const where = namespace === undefined ? {} : { namespace }
    // A conflict: the object changed meanwhile, and its next version is on its way.
    await client
      .object(apiVersion, kind)
      .patch(name, { type: 'merge', body }, { ...where, subresource: 'status' })
      .catch(ignoreGone)
  }
  const { gateways, routes } = compiled.gatewayApi
  const classes = world.gatewayClasses.filter(({ spec }) => spec?.controllerName === controllerName)
  await Promise.all([
    ...classes.map((one) => write(gatewayApi, 'GatewayClass', one, renderClassStatus(one, now))),
    ...gateways.map((one) => write(gatewayApi, 'Gateway', one.gateway, renderGatewayStatus(one, outcomes, now))),
    ...routes.map((one) => write(gatewayApi, one.kind, one.route, renderRouteStatus(one, now))),
    ...policyStatuses(compiled, now).map(({ policy, status }) => write(gatewayApi, 'BackendTLSPolicy', policy, status)),
    ...abandonedRoutes(world, compiled).map(({ kind, route, status }) => write(gatewayApi, kind, route, status)),
    ...compiled.ingresses.map((one) =>
      write('networking.k8s.io/v1', 'Ingress', one.ingress, renderIngressStatus(one, outcomes, world.host)),
    ),
  ])
}

/** Routes that we said something of and that are none of ours any more. */
function abandonedRoutes(
  world: World,
  { gatewayApi: { routes } }: Compiled,
): { kind: string; route: World['httpRoutes'][number] | World['grpcRoutes'][number]; status: object }[] {
  const kept = new Set<unknown>(routes.map(({ route }) => route))
  const all = [
    ...world.httpRoutes.map((route) => ({ kind: 'HTTPRoute', route })),
    ...world.grpcRoutes.map((route) => ({ kind: 'GRPCRoute', route })),
  ]
  return all.flatMap(({ kind, route }) => {
    const parents = route.status?.parents ?? []
    const others = parents.filter((one) => one.controllerName !== controllerName)
    return kept.has(route) || others.length === parents.length ? [] : [{ kind, route, status: { parents: others } }]
  })
}

function ignoreGone(error: unknown): void {
  if (!isConflict(error) && !isNotFound(error)) throw error
}
