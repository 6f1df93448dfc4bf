import { subresourcesOf } from '@fairlead/kube/types'
import type { KindInfo } from '@fairlead/kube/types'

import type { Catalogue } from './catalogue.ts'
import type { Resource } from './resource.ts'
import { methodNotAllowed, pathNotFound } from './status.ts'

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection'

/** What a request below `/api` or `/apis` is about. */
export interface ResourceRoute {
  readonly resource: Resource
  readonly info: KindInfo
  readonly verb: Verb
  /** Empty for all namespaces and for objects without one. */
  readonly namespace: string
  /** Empty for a collection. */
  readonly name: string
  /** Empty for the object itself. */
  readonly subresource: string
}

/** Reads a URL as a resource request; undefined when the path names none. */
export function parseRoute(
  catalogue: Catalogue,
  method: string,
  path: string,
  query: URLSearchParams,
): ResourceRoute | undefined {
  const segments = path.split('/').filter((segment) => segment !== '')
  const watched = withoutWatch(segments)
  const place = parsePlace(catalogue, watched ?? segments)
  if (place === undefined) return undefined
  if (watched !== undefined) {
    if (method !== 'GET' || place.subresource !== '') throw pathNotFound()
    return { ...place, info: place.resource.info, verb: 'watch' }
  }
  const { resource, namespace, name, subresource } = place
  if (subresource !== '' && !resource.subresources.some((served) => served.name === subresource)) throw pathNotFound()
  return { ...place, info: resource.info, namespace, name, verb: verbOf(method, name, subresource, query) }
}

/** The place in a path such as `/api/v1/watch/pods`, which upstream still serves beside the parameter `watch`. */
function withoutWatch(segments: readonly string[]): string[] | undefined {
  const at = segments[0] === 'api' ? 2 : 3
  return segments[at] === 'watch' ? segments.toSpliced(at, 1) : undefined
}

/** Subresources of a built-in kind that this server answers. */
export function servedSubresources(info: KindInfo): readonly string[] {
  const known = subresourcesOf(info).map((subresource) => subresource.name)
  return known.filter((name) => general.has(name) || special.has(`${info.apiVersion} ${info.plural}/${name}`))
}

const general = new Set(['status', 'scale'])
const special = new Set([
  'v1 pods/log',
  'v1 pods/binding',
  'v1 pods/eviction',
  'v1 namespaces/finalize',
  'v1 serviceaccounts/token',
  'certificates.k8s.io/v1 certificatesigningrequests/approval',
  'v1 pods/exec',
  'v1 pods/attach',
  'v1 pods/portforward',
  'v1 pods/ephemeralcontainers',
  'v1 pods/resize',
  'v1 pods/proxy',
  'v1 services/proxy',
  'v1 nodes/proxy',
])

interface Place {
  resource: Resource
  namespace: string
  name: string
  subresource: string
}

function parsePlace(catalogue: Catalogue, segments: readonly string[]): Place | undefined {
  const isCore = segments[0] === 'api'
  if (!isCore && segments[0] !== 'apis') return undefined
  const apiVersion = isCore ? (segments[1] ?? '') : `${segments[1]}/${segments[2]}`
  const parts = segments.slice(isCore ? 2 : 3)
  if (parts.length === 0) return undefined
  const inNamespace = parts[0] === 'namespaces' && parts.length > 2 && catalogue.find(apiVersion, parts[2] ?? '')
  if (inNamespace !== false && inNamespace !== undefined) {
    const [, namespace = '', , name = '', ...subresource] = parts
    const { namespaced } = inNamespace.info
    return namespaced ? { resource: inNamespace, namespace, name, subresource: only(subresource) } : undefined
  }
  const [plural = '', name = '', ...subresource] = parts
  const resource = catalogue.find(apiVersion, plural)
  if (resource === undefined) return undefined
  // An object with a namespace is only reachable through it.
  if (resource.info.namespaced && name !== '') return undefined
  return { resource, namespace: '', name, subresource: only(subresource) }
}

function only(subresource: readonly string[]): string {
  // What follows a proxy is for the server behind it.
  if (subresource.length > 1 && subresource[0] !== 'proxy') throw pathNotFound()
  return subresource[0] ?? ''
}

function verbOf(method: string, name: string, subresource: string, query: URLSearchParams): Verb {
  const isCollection = name === ''
  // What methods a server behind a proxy knows is its own business; asking it for them only reads.
  if (method === 'OPTIONS' && subresource === 'proxy') return 'get'
  switch (method) {
    case 'GET':
    case 'HEAD':
      if (subresource !== '') return 'get'
      if (isTrue(query.get('watch'))) return 'watch'
      return isCollection ? 'list' : 'get'
    case 'POST':
      if (isCollection || subresource !== '') return 'create'
      break
    case 'PUT':
      if (!isCollection) return 'update'
      break
    case 'PATCH':
      if (!isCollection) return 'patch'
      break
    case 'DELETE':
      return isCollection ? 'deletecollection' : 'delete'
  }
  throw methodNotAllowed()
}

/** A boolean query parameter as Go reads it. */
export function isTrue(text: string | null): boolean {
  return text === 'true' || text === '1' || text === 'True'
}
