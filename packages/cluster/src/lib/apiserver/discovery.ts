import { createHash } from 'node:crypto'

import { kinds, subresourcesOf } from '@fairlead/kube/types'
import type { KindInfo } from '@fairlead/kube/types'

import type { ApiRequest, ApiResponse } from './exchange.ts'
import { parseAccept } from './negotiate.ts'
import type { MediaType } from './negotiate.ts'
import { respond } from './render.ts'
import { servedSubresources } from './route.ts'
import { notAcceptable, pathNotFound } from './status.ts'

/** Answers `/api`, `/apis` and the lists below them. */
export function serveDiscovery(request: ApiRequest): ApiResponse {
  const segments = request.path.split('/').filter((segment) => segment !== '')
  const [root, first, second] = segments
  if (segments.length === 1) return serveRoot(request, root === 'api')
  if (root === 'api') return segments.length === 2 ? resourceList(first ?? '') : missing()
  if (segments.length === 2) return serveGroup(first ?? '')
  return segments.length === 3 ? resourceList(`${first}/${second}`) : missing()
}

/** Kinds this server answers. */
export const servedKinds: readonly KindInfo[] = kinds.filter(
  (info) => info.verbs.includes('watch') || (info.verbs.length === 1 && info.verbs[0] === 'create'),
)

function serveRoot(request: ApiRequest, isCore: boolean): ApiResponse {
  for (const media of parseAccept(request.headers['accept'])) {
    const version = aggregatedVersion(media)
    if (version !== undefined) return aggregated(request, isCore, version)
    if (['application/json', '*/*', 'application/*'].includes(media.type) && !media.parameters.has('as')) {
      return respond(200, isCore ? coreVersions() : groupList())
    }
  }
  throw notAcceptable(['application/json'])
}

function aggregatedVersion({ type, parameters }: MediaType): string | undefined {
  const isAggregated = parameters.get('g') === 'apidiscovery.k8s.io' && parameters.get('as') === 'APIGroupDiscoveryList'
  const version = parameters.get('v') ?? ''
  return type === 'application/json' && isAggregated && ['v2', 'v2beta1'].includes(version) ? version : undefined
}

/** One document for everything below a root; clients keep it and ask again with its tag. */
function aggregated(request: ApiRequest, isCore: boolean, version: string): ApiResponse {
  const groups = [...new Set(servedKinds.map((info) => info.group))].filter((group) => (group === '') === isCore)
  const items = groups.map((group) => ({
    metadata: group === '' ? { creationTimestamp: null } : { name: group, creationTimestamp: null },
    versions: versionsOf(group).map((name) => ({
      version: name,
      resources: kindsOf(group === '' ? name : `${group}/${name}`).map(aggregatedResource),
      freshness: 'Current',
    })),
  }))
  const document = { kind: 'APIGroupDiscoveryList', apiVersion: `apidiscovery.k8s.io/${version}`, metadata: {}, items }
  const answer = respond(200, document)
  const contentType = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`
  const etag = `"${createHash('sha256').update(JSON.stringify(document)).digest('hex').slice(0, 32)}"`
  const headers = { 'content-type': contentType, etag, vary: 'Accept', 'cache-control': 'public' }
  if (request.headers['if-none-match'] === etag) return { status: 304, headers, body: { pieces: [] } }
  return { ...answer, headers }
}

function aggregatedResource(info: KindInfo): unknown {
  const subresources = served(info).map(({ name, apiVersion, kind, verbs }) => ({
    subresource: name,
    responseKind: responseKind(apiVersion, kind),
    verbs,
  }))
  return {
    resource: info.plural,
    responseKind: responseKind(info.apiVersion, info.kind),
    scope: info.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: info.singular,
    verbs: info.verbs,
    ...(info.shortNames.length > 0 ? { shortNames: info.shortNames } : {}),
    ...(info.categories.length > 0 ? { categories: info.categories } : {}),
    ...(subresources.length > 0 ? { subresources } : {}),
  }
}

function responseKind(apiVersion: string, kind: string): unknown {
  const at = apiVersion.indexOf('/')
  return { group: apiVersion.slice(0, Math.max(at, 0)), version: apiVersion.slice(at + 1), kind }
}

function resourceList(groupVersion: string): ApiResponse {
  const listed = kindsOf(groupVersion)
  if (listed.length === 0) throw pathNotFound()
  const resources = listed.flatMap((info) => [
    plainResource(info),
    ...served(info).map((sub) => plainSubresource(info, sub)),
  ])
  return respond(200, { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources })
}

function plainResource(info: KindInfo): unknown {
  return {
    name: info.plural,
    singularName: info.singular,
    namespaced: info.namespaced,
    kind: info.kind,
    verbs: info.verbs,
    ...(info.shortNames.length > 0 ? { shortNames: info.shortNames } : {}),
    ...(info.categories.length > 0 ? { categories: info.categories } : {}),
  }
}

function plainSubresource(info: KindInfo, sub: ReturnType<typeof served>[number]): unknown {
  const foreign = sub.apiVersion === info.apiVersion ? {} : (responseKind(sub.apiVersion, sub.kind) as object)
  return {
    name: `${info.plural}/${sub.name}`,
    singularName: '',
    namespaced: info.namespaced,
    ...foreign,
    kind: sub.kind,
    verbs: sub.verbs,
  }
}

function served(info: KindInfo): ReturnType<typeof subresourcesOf> {
  const names = servedSubresources(info)
  return subresourcesOf(info).filter(({ name }) => names.includes(name))
}

function coreVersions(): unknown {
  return { kind: 'APIVersions', versions: versionsOf(''), serverAddressByClientCIDRs: [] }
}

function groupList(): unknown {
  const groups = [...new Set(servedKinds.map((info) => info.group))].filter((group) => group !== '')
  return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups.map(groupOf) }
}

function serveGroup(group: string): ApiResponse {
  if (versionsOf(group).length === 0) throw pathNotFound()
  return respond(200, { kind: 'APIGroup', apiVersion: 'v1', ...groupOf(group) })
}

function groupOf(name: string): { name: string; versions: unknown[]; preferredVersion: unknown } {
  const versions = versionsOf(name).map((version) => ({ groupVersion: `${name}/${version}`, version }))
  return { name, versions, preferredVersion: versions[0] }
}

/** Versions of a group, the preferred one first. */
function versionsOf(group: string): string[] {
  const versions = servedKinds.filter((info) => info.group === group).map((info) => info.version)
  return [...new Set(versions)].toSorted((a, b) => b.localeCompare(a, 'en', { numeric: true }))
}

function kindsOf(groupVersion: string): readonly KindInfo[] {
  return servedKinds.filter((info) => info.apiVersion === groupVersion)
}

function missing(): never {
  throw pathNotFound()
}
