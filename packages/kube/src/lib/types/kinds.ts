import { kindLines, resolveReference } from './notation.ts'
import type { ObjectMeta } from './generated/meta-v1.ts'

/** Any object of the API: typed where every object is alike, `unknown` where kinds differ. */
export interface KubeObject {
  apiVersion: string
  kind: string
  metadata: ObjectMeta
  [key: string]: unknown
}

/** What the API serves under one resource name, as discovery announces it. */
export interface KindInfo {
  /** Empty for the core group. */
  readonly group: string
  readonly version: string
  readonly apiVersion: string
  readonly kind: string
  readonly plural: string
  readonly singular: string
  readonly shortNames: readonly string[]
  readonly categories: readonly string[]
  readonly namespaced: boolean
  /** Name to ask {@link fieldsOf} with. */
  readonly definition: string
  readonly subresources: readonly string[]
  readonly verbs: readonly string[]
}

/** A subresource as discovery announces it; its objects may be of another kind (`scale`, `eviction`, `token`). */
export interface SubresourceInfo {
  readonly name: string
  readonly apiVersion: string
  readonly kind: string
  readonly verbs: readonly string[]
}

const subresources = new Map<string, readonly SubresourceInfo[]>()

/** Every built-in kind, sorted by group-version and plural. */
export const kinds: readonly KindInfo[] = kindLines.map(readKind)

const byKind: ReadonlyMap<string, KindInfo> = new Map(kinds.map((info) => [`${info.apiVersion} ${info.kind}`, info]))
const byResource: ReadonlyMap<string, KindInfo> = new Map(
  kinds.map((info) => [`${info.apiVersion} ${info.plural}`, info]),
)

export function findKind(apiVersion: string, kind: string): KindInfo | undefined {
  return byKind.get(`${apiVersion} ${kind}`)
}

/** Looks a resource up as URLs name it; `group` is empty for the core group. */
export function findResource(group: string, version: string, plural: string): KindInfo | undefined {
  return byResource.get(`${group === '' ? version : `${group}/${version}`} ${plural}`)
}

export function subresourcesOf(info: KindInfo): readonly SubresourceInfo[] {
  return subresources.get(`${info.apiVersion} ${info.kind}`) ?? []
}

function readKind(line: string): KindInfo {
  const [apiVersion = '', plural = '', kind = '', reference = '', scope, short, categories, verbs, subs] =
    line.split('|')
  const slash = apiVersion.indexOf('/')
  const infos = words(subs).map(readSubresource)
  subresources.set(`${apiVersion} ${kind}`, infos)
  return {
    group: apiVersion.slice(0, Math.max(slash, 0)),
    version: apiVersion.slice(slash + 1),
    apiVersion,
    kind,
    plural,
    singular: kind.toLowerCase(),
    shortNames: words(short),
    categories: words(categories),
    namespaced: scope === 'N',
    definition: resolveReference(reference, 0),
    subresources: infos.map((info) => info.name),
    verbs: words(verbs),
  }
}

function readSubresource(text: string): SubresourceInfo {
  const [name = '', verbs = '', apiVersion = '', kind = ''] = text.split(':')
  return { name, apiVersion, kind, verbs: verbs.split('+') }
}

function words(text: string | undefined): string[] {
  return text === undefined || text === '' ? [] : text.split(',')
}
