import { findResource, subresourcesOf } from '@fairlead/kube/types'
import type { KindInfo } from '@fairlead/kube/types'

import { methodNotAllowed, pathNotFound } from './status.ts'

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection'

/** What a request below `/api` or `/apis` is about. */
export interface ResourceRoute {
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
export function parseRoute(method: string, path: string, query: URLSearchParams): ResourceRoute | undefined {
  const segments = path.split('/').filter((segment) => segment !== '')
  const place = parsePlace(segments)
  if (place === undefined) return undefined
  const { info, namespace, name, subresource } = place
  if (subresource !== '' && !servedSubresources(info).includes(subresource)) throw pathNotFound()
  return { info, namespace, name, subresource, verb: verbOf(method, name, subresource, query) }
}

/** Subresources this server answers; discovery announces exactly these. */
export function servedSubresources(info: KindInfo): readonly string[] {
  const known = subresourcesOf(info).map((subresource) => subresource.name)
  return known.filter((name) => general.has(name) || special.has(`${info.apiVersion} ${info.plural}/${name}`))
}

const general = new Set(['status', 'scale'])
const special = new Set(['v1 pods/log', 'v1 pods/binding', 'v1 pods/eviction', 'v1 namespaces/finalize'])

interface Place {
  info: KindInfo
  namespace: string
  name: string
  subresource: string
}

function parsePlace(segments: readonly string[]): Place | undefined {
  const isCore = segments[0] === 'api'
  if (!isCore && segments[0] !== 'apis') return undefined
  const group = isCore ? '' : (segments[1] ?? '')
  const rest = segments.slice(isCore ? 1 : 2)
  const [version = '', ...parts] = rest
  if (parts.length === 0) return undefined
  const inNamespace = parts[0] === 'namespaces' && parts.length > 2 && findResource(group, version, parts[2] ?? '')
  if (inNamespace !== false && inNamespace !== undefined) {
    const [, namespace = '', , name = '', ...subresource] = parts
    return inNamespace.namespaced ? { info: inNamespace, namespace, name, subresource: only(subresource) } : undefined
  }
  const [plural = '', name = '', ...subresource] = parts
  const info = findResource(group, version, plural)
  if (info === undefined) return undefined
  // An object with a namespace is only reachable through it.
  if (info.namespaced && name !== '') return undefined
  return { info, namespace: '', name, subresource: only(subresource) }
}

function only(subresource: readonly string[]): string {
  if (subresource.length > 1) throw pathNotFound()
  return subresource[0] ?? ''
}

function verbOf(method: string, name: string, subresource: string, query: URLSearchParams): Verb {
  const isCollection = name === ''
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
