import type { Identity } from './exchange.ts'
import type { ResourceRoute } from './route.ts'
import { forbidden } from './status.ts'

/** What somebody wants to do, as access reviews put it. */
export interface Access {
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly subresource: string
  readonly namespace: string
  readonly name: string
}

/** Whether `identity` may do this to resources: administrators and the cluster's own components may do anything. */
export function mayAccess(identity: Identity, access: Access): boolean {
  if (isTrusted(identity)) return true
  // Whoever is known may ask what they may do.
  return (
    identity.groups.includes('system:authenticated') &&
    access.verb === 'create' &&
    askable.has(`${access.group}/${access.resource}`)
  )
}

/** Whether `identity` may read a path that is no resource: health for everybody, discovery for whoever is known. */
export function mayRead(identity: Identity, path: string): boolean {
  if (isTrusted(identity) || open.test(path)) return true
  return identity.groups.includes('system:authenticated') && discovery.test(path)
}

export function checkAccess(identity: Identity, route: ResourceRoute): void {
  const { info, verb, namespace, name, subresource } = route
  const access = { verb, group: info.group, resource: info.plural, subresource, namespace, name }
  if (mayAccess(identity, access)) return
  const resource = subresource === '' ? info.plural : `${info.plural}/${subresource}`
  const subject = `${info.plural}${info.group === '' ? '' : `.${info.group}`}${name === '' ? '' : ` "${name}"`}`
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace "${namespace}"`
  const details = name === '' ? { kind: info.plural } : { name, kind: info.plural }
  throw forbidden(
    `${subject} is forbidden: User "${identity.user}" cannot ${verb} resource "${resource}" in API group "${info.group}" ${where}`,
    info.group === '' ? details : { ...details, group: info.group },
  )
}

export function checkRead(identity: Identity, method: string, path: string): void {
  if (mayRead(identity, path)) return
  throw forbidden(`forbidden: User "${identity.user}" cannot ${method.toLowerCase()} path "${path}"`)
}

export function isTrusted(identity: Identity): boolean {
  if (identity.groups.includes('system:masters') || components.has(identity.user)) return true
  return identity.user.startsWith('system:node:') && identity.groups.includes('system:nodes')
}

const components = new Set([
  'system:apiserver',
  'system:kube-controller-manager',
  'system:kube-scheduler',
  'system:kube-proxy',
])
const askable = new Set([
  'authorization.k8s.io/selfsubjectaccessreviews',
  'authorization.k8s.io/selfsubjectrulesreviews',
  'authentication.k8s.io/selfsubjectreviews',
])
const open = /^\/(healthz|livez|readyz|version)(\/|$)/
const discovery = /^\/(api|apis|openapi)(\/|$)/
