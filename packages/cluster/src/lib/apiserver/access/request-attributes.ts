import { isTrue } from '../route.ts'
import type { ResourceRoute } from '../route.ts'
import type { Attributes } from './attributes.ts'
import { pathAttributes } from './attributes.ts'

/** What a request to a resource asks for, as roles put it. */
export function routeAttributes(route: ResourceRoute, query: URLSearchParams): Attributes {
  const { info, verb, namespace, name, subresource } = route
  const isSelection = name === '' && (verb === 'list' || verb === 'watch' || verb === 'deletecollection')
  const fieldSelector = isSelection ? (query.get('fieldSelector') ?? undefined) : undefined
  return {
    verb,
    group: info.group,
    resource: info.plural,
    subresource,
    // A namespace counts as being in itself, so that a role in it can let somebody read it.
    namespace: info.kind === 'Namespace' && info.group === '' ? name : namespace,
    name: fieldSelector === undefined ? name : selectedName(fieldSelector),
    fieldSelector,
  }
}

/** The same for a path that names no resource served here: below a version it is about a resource all the same. */
export function unroutedAttributes(method: string, path: string): Attributes {
  const verb = method.toLowerCase()
  const [root, ...rest] = path.split('/').filter((segment) => segment !== '')
  const group = root === 'apis' ? rest.shift() : ''
  if ((root !== 'api' && root !== 'apis') || group === undefined || rest.length < 2) return pathAttributes(verb, path)
  const [, ...parts] = rest
  const isNamespaced = parts[0] === 'namespaces' && parts.length > 2
  const namespace = isNamespaced ? (parts[1] ?? '') : ''
  const [resource = '', name = '', subresource = ''] = isNamespaced ? parts.slice(2) : parts
  return { verb: verbOf(verb, name), group, resource, subresource, namespace, name }
}

/** What a request asks for by its address alone, before anyone knows what is served. */
export function askedAttributes(method: string, path: string, query: URLSearchParams): Attributes {
  const asked = unroutedAttributes(method, path)
  const { resource, name, group } = asked
  if (resource === 'namespaces' && group === '' && name !== '') return { ...asked, namespace: name }
  return asked.verb === 'list' && isTrue(query.get('watch')) ? { ...asked, verb: 'watch' } : asked
}

function verbOf(method: string, name: string): string {
  if (method === 'get' || method === 'head') return name === '' ? 'list' : 'get'
  if (method === 'delete') return name === '' ? 'deletecollection' : 'delete'
  return { post: 'create', put: 'update', patch: 'patch' }[method] ?? method
}

/** Selecting one object by its name is asking for that object. */
function selectedName(fieldSelector: string): string {
  if (!fieldSelector.includes('metadata.name')) return ''
  const names = fieldSelector.split(',').flatMap((term) => /^metadata\.name==?(.+)$/.exec(term)?.[1] ?? [])
  return names.length === 1 ? (names[0] ?? '') : ''
}
