import { createHash } from 'node:crypto'

import type { Catalogue, Group, GroupVersion } from './catalogue.ts'
import type { ApiRequest, ApiResponse } from './exchange.ts'
import { parseAccept } from './negotiate.ts'
import type { MediaType } from './negotiate.ts'
import { respond } from './render.ts'
import type { Resource } from './resource.ts'
import { renderRemote } from './aggregation/remote.ts'
import { notAcceptable, pathNotFound } from './status.ts'

/** Answers `/api`, `/apis` and the lists below them. */
export function serveDiscovery(catalogue: Catalogue, request: ApiRequest): ApiResponse {
  const segments = request.path.split('/').filter((segment) => segment !== '')
  const [root, first, second] = segments
  if (segments.length === 1) return serveRoot(catalogue, request, root === 'api')
  if (root === 'api') return segments.length === 2 ? resourceList(catalogue, '', first ?? '') : missing()
  if (segments.length === 2) return serveGroup(catalogue, first ?? '')
  return segments.length === 3 ? resourceList(catalogue, first ?? '', `${first}/${second}`) : missing()
}

function serveRoot(catalogue: Catalogue, request: ApiRequest, isCore: boolean): ApiResponse {
  for (const media of parseAccept(request.headers['accept'])) {
    const version = aggregatedVersion(media)
    if (version !== undefined) return aggregated(catalogue, request, isCore, version)
    if (['application/json', '*/*', 'application/*'].includes(media.type) && !media.parameters.has('as')) {
      return respond(200, isCore ? coreVersions(catalogue) : groupList(catalogue))
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
function aggregated(catalogue: Catalogue, request: ApiRequest, isCore: boolean, version: string): ApiResponse {
  const { bytes, etag } = aggregatedDocument(catalogue, isCore, version)
  const contentType = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`
  const headers = { 'content-type': contentType, etag, vary: 'Accept', 'cache-control': 'public' }
  if (request.headers['if-none-match'] === etag) return { status: 304, headers, body: { pieces: [] } }
  return { status: 200, headers, body: { pieces: [bytes] } }
}

interface Document {
  readonly revision: number
  readonly bytes: Buffer
  readonly etag: string
}

const documents = new WeakMap<Catalogue, Map<string, Document>>()

/** Rendered once per change of the catalogue: every client begins by asking for it. */
function aggregatedDocument(catalogue: Catalogue, isCore: boolean, version: string): Document {
  const kept = documents.get(catalogue) ?? new Map<string, Document>()
  documents.set(catalogue, kept)
  const key = `${isCore} ${version}`
  let document = kept.get(key)
  if (document === undefined || document.revision !== catalogue.revision) {
    document = renderAggregated(catalogue, isCore, version)
    kept.set(key, document)
  }
  return document
}

function renderAggregated(catalogue: Catalogue, isCore: boolean, version: string): Document {
  const items = groupsOf(catalogue, isCore).map(({ name, versions }) => ({
    metadata: name === '' ? { creationTimestamp: null } : { name, creationTimestamp: null },
    versions: versions.map((each) => ({
      version: each.version,
      resources: each.remote === undefined ? each.resources.map(aggregatedResource) : renderRemote(each.remote),
      freshness: each.remote?.isAvailable === false ? 'Stale' : 'Current',
    })),
  }))
  const document = { kind: 'APIGroupDiscoveryList', apiVersion: `apidiscovery.k8s.io/${version}`, metadata: {}, items }
  const bytes = Buffer.from(`${JSON.stringify(document)}\n`)
  const etag = `"${createHash('sha256').update(bytes).digest('hex').slice(0, 32)}"`
  return { revision: catalogue.revision, bytes, etag }
}

function aggregatedResource({ info, subresources }: Resource): unknown {
  const served = subresources.map(({ name, apiVersion, kind, verbs }) => ({
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
    ...(served.length > 0 ? { subresources: served } : {}),
  }
}

function responseKind(apiVersion: string, kind: string): unknown {
  const [group, version] = splitApiVersion(apiVersion)
  return { group, version, kind }
}

function splitApiVersion(apiVersion: string): readonly [group: string, version: string] {
  const at = apiVersion.indexOf('/')
  return [apiVersion.slice(0, Math.max(at, 0)), apiVersion.slice(at + 1)]
}

function resourceList(catalogue: Catalogue, group: string, groupVersion: string): ApiResponse {
  const found = findGroup(catalogue, group)?.versions.find(({ apiVersion }) => apiVersion === groupVersion)
  if (found === undefined) throw pathNotFound()
  const resources = found.resources.flatMap((resource) => [
    plainResource(resource),
    ...resource.subresources.map((sub) => plainSubresource(resource, sub)),
  ])
  return respond(200, { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources })
}

function plainResource(resource: Resource): unknown {
  const { info } = resource
  return {
    name: info.plural,
    singularName: info.singular,
    namespaced: info.namespaced,
    kind: info.kind,
    verbs: info.verbs,
    ...(info.shortNames.length > 0 ? { shortNames: info.shortNames } : {}),
    ...(info.categories.length > 0 ? { categories: info.categories } : {}),
    ...(info.verbs.includes('watch') ? { storageVersionHash: storageVersionHash(resource) } : {}),
  }
}

/** Changes when the objects of a resource are stored in another version. Upstream's form: some programs reckon it themselves. */
function storageVersionHash({ info, stored, custom }: Resource): string {
  const [group, version] = splitApiVersion(custom?.storedAs ?? stored.info.apiVersion)
  return createHash('sha256').update(`${group}/${version}/${info.kind}`).digest().subarray(0, 8).toString('base64')
}

function plainSubresource({ info }: Resource, sub: Resource['subresources'][number]): unknown {
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

function coreVersions(catalogue: Catalogue): unknown {
  const versions = findGroup(catalogue, '')?.versions.map(({ version }) => version) ?? []
  return { kind: 'APIVersions', versions, serverAddressByClientCIDRs: [] }
}

function groupList(catalogue: Catalogue): unknown {
  return { kind: 'APIGroupList', apiVersion: 'v1', groups: groupsOf(catalogue, false).map(plainGroup) }
}

function serveGroup(catalogue: Catalogue, name: string): ApiResponse {
  const group = findGroup(catalogue, name)
  if (group === undefined || name === '') throw pathNotFound()
  return respond(200, { kind: 'APIGroup', apiVersion: 'v1', ...plainGroup(group) })
}

function plainGroup({ name, versions }: Group): { name: string; versions: unknown[]; preferredVersion: unknown } {
  const listed = versions.map(({ apiVersion, version }: GroupVersion) => ({ groupVersion: apiVersion, version }))
  return { name, versions: listed, preferredVersion: listed[0] }
}

function findGroup(catalogue: Catalogue, name: string): Group | undefined {
  return catalogue.groups.find((group) => group.name === name)
}

function groupsOf(catalogue: Catalogue, isCore: boolean): readonly Group[] {
  return catalogue.groups.filter(({ name }) => (name === '') === isCore)
}

function missing(): never {
  throw pathNotFound()
}
