import type { KubeObject } from '@fairlead/kube/types'

import type { ApiRequest } from '../exchange.ts'
import { isDryRun } from '../request-checks.ts'
import type { ResourceRoute } from '../route.ts'
import type { AdmittedRegistry } from './admitted-registry.ts'
import type { GroupVersionKind } from './attributes.ts'
import { AdmissionScope } from './scope.ts'

/** Asks about an object that is sent to a subresource and not stored: an eviction, a request for a token. */
export async function admitCreated(
  registry: AdmittedRegistry,
  route: ResourceRoute,
  request: ApiRequest,
  object: KubeObject,
  kind: GroupVersionKind,
): Promise<void> {
  const { resource, subresource, namespace, name } = route
  const { identity } = request
  const about = { operation: 'CREATE', resource, subresource, kind, namespace, name, object, identity } as const
  const scope = new AdmissionScope(request, 'CreateOptions')
  await registry.admit({ ...about, oldObject: undefined, isDryRun: isDryRun(request.query) }, scope)
}

/** Asks about a binding, whether it is sent to `pods/binding` or to the collection of bindings. */
export async function admitBinding(
  registry: AdmittedRegistry,
  route: ResourceRoute,
  request: ApiRequest,
  binding: KubeObject,
): Promise<void> {
  const kind = { group: '', version: 'v1', kind: 'Binding' }
  const isCollection = route.subresource === ''
  const bound = isCollection ? { ...route, name: binding.metadata.name ?? '' } : route
  await admitCreated(registry, bound, request, binding, kind)
}

const optionsKinds: Readonly<Record<string, string>> = {
  exec: 'PodExecOptions',
  attach: 'PodAttachOptions',
  portforward: 'PodPortForwardOptions',
}

const proxyKinds: Readonly<Record<string, string>> = {
  pods: 'PodProxyOptions',
  services: 'ServiceProxyOptions',
  nodes: 'NodeProxyOptions',
}

/** Asks about a connection to a pod, a service or a node, before anything is connected. */
export async function admitConnection(
  registry: AdmittedRegistry,
  route: ResourceRoute,
  request: ApiRequest,
): Promise<void> {
  const { resource, subresource, namespace, name, info } = route
  const kind = optionsKinds[subresource] ?? proxyKinds[info.plural] ?? ''
  const object = { kind, apiVersion: 'v1', ...connectOptions(request, subresource) } as unknown as KubeObject
  const { identity } = request
  const about = { operation: 'CONNECT', resource, subresource, namespace, name, object, identity } as const
  const gvk = { group: '', version: 'v1', kind }
  await registry.admit({ ...about, kind: gvk, oldObject: undefined, isDryRun: false }, undefined)
}

/** The parameters of a connection, typed as upstream types them. */
function connectOptions({ query, path }: ApiRequest, subresource: string): Record<string, unknown> {
  if (subresource === 'proxy') return { path: path.split('/proxy').slice(1).join('/proxy') }
  if (subresource === 'portforward')
    return { ports: query.getAll('ports').flatMap((text) => text.split(',').map(Number)) }
  const options: Record<string, unknown> = {}
  for (const name of ['stdin', 'stdout', 'stderr', 'tty'])
    if (query.has(name)) options[name] = query.get(name) !== 'false'
  if (query.has('container')) options['container'] = query.get('container')
  if (subresource === 'exec') options['command'] = query.getAll('command')
  return options
}
