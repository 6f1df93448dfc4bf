import { isTrue } from '../route.ts'
import type { ResourceRoute } from '../route.ts'
import type { Attributes } from './attributes.ts'
import { pathAttributes } from './attributes.ts'

/** What a request to a resource asks for, as roles put it. */
export function routeAttributes(route: ResourceRoute, query: URLSearchParams): Attributes {
  const { info, verb, namespace, name, subresource } = route
  const isSelection = name === '' && selections.has(verb)
  const fieldSelector = isSelection ? (query.get('fieldSelector') ?? undefined) : undefined
  return {
    verb,
    group: info.group,
    resource: info.plural,
    subresource,
    // A namespace counts as being in itself, so that a role in it can let somebody read it.
    namespace: info.kind === 'Namespace' && info.group === '' ? name : namespace,
    name: name === '' ? selectedName(verb, fieldSelector) : name,
    fieldSelector,
  }
}

/**
 * What a request asks for by its address alone, whether or not that is served: below a version all is about resources.
 * As upstream's `RequestInfoFactory`.
 */
export function askedAttributes(method: string, path: string, query: URLSearchParams): Attributes {
  const verb = method.toLowerCase()
  const [root, ...rest] = path.split('/').filter((segment) => segment !== '')
  const group = root === 'apis' ? rest.shift() : ''
  if ((root !== 'api' && root !== 'apis') || group === undefined || rest.length < 2) return pathAttributes(verb, path)
  const [, ...below] = rest
  // The old form, `/api/v1/watch/pods`: whatever is done to it is watching.
  const special = below[0] === 'watch' || below[0] === 'proxy' ? below[0] : undefined
  if (special !== undefined && below.length < 2) return pathAttributes(verb, path)
  const { namespace, parts } = placeOf(special === undefined ? below : below.slice(1))
  const [resource = '', name = '', subresource = ''] = parts
  const asked = { verb: special ?? verbOf(verb, name, query), group, resource, subresource, namespace, name }
  if (name !== '' || !selections.has(asked.verb)) return asked
  const fieldSelector = query.get('fieldSelector') ?? undefined
  const selected = special === undefined ? selectedName(asked.verb, fieldSelector) : ''
  return { ...asked, name: selected, fieldSelector }
}

const selections = new Set(['list', 'watch', 'deletecollection'])

/** A namespace is in itself; its own subresources are no resources in it. */
function placeOf(parts: readonly string[]): { namespace: string; parts: readonly string[] } {
  const [first, namespace = '', third] = parts
  if (first !== 'namespaces') return { namespace: '', parts }
  const isItself = third === undefined || third === 'status' || third === 'finalize'
  return { namespace, parts: isItself ? parts : parts.slice(2) }
}

function verbOf(method: string, name: string, query: URLSearchParams): string {
  if (method === 'get' || method === 'head') {
    if (name !== '') return 'get'
    return isTrue(query.get('watch')) ? 'watch' : 'list'
  }
  if (method === 'delete') return name === '' ? 'deletecollection' : 'delete'
  return { post: 'create', put: 'update', patch: 'patch' }[method] ?? method
}

/** Selecting one object by its name is asking for that object, but for deletions. */
function selectedName(verb: string, fieldSelector = ''): string {
  if (verb === 'deletecollection' || !fieldSelector.includes('metadata.name')) return ''
  const names = fieldSelector.split(',').flatMap((term) => /^metadata\.name==?(.+)$/.exec(term)?.[1] ?? [])
  return names.length === 1 ? (names[0] ?? '') : ''
}
