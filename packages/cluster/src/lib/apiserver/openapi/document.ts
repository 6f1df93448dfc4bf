import { createHash } from 'node:crypto'

import type { KindInfo } from '@fairlead/kube/types'

import type { Catalogue } from '../catalogue.ts'
import type { Resource } from '../resource.ts'
import { renderCustomSchemas } from './custom-schema.ts'
import { renderSchemas } from './schema.ts'
import type { Schema } from './schema.ts'

/** The OpenAPI v3 documents of a server, one per group-version. */
export interface OpenApi {
  /**
   * What `/openapi/v3` answers: the address of each document, which holds a hash of its bytes, so that clients may
   * keep it for good.
   */
  index(): { readonly paths: Readonly<Record<string, { readonly serverRelativeURL: string }>> }
  /** Bytes of the document at `api/v1` or `apis/GROUP/VERSION`; undefined for what is not served. */
  document(path: string): { readonly bytes: Buffer; readonly hash: string } | undefined
}

interface Rendered {
  readonly resources: readonly Resource[]
  readonly bytes: Buffer
  readonly hash: string
}

/** Documents of what the catalogue holds, rendered when first asked for and kept until their resources change. */
export function createOpenApi(catalogue: Catalogue): OpenApi {
  const rendered = new Map<string, Rendered>()
  let known = { revision: 0, byPath: new Map<string, readonly Resource[]>() }
  function byPath(): ReadonlyMap<string, readonly Resource[]> {
    if (known.revision !== catalogue.revision) {
      known = { revision: catalogue.revision, byPath: new Map(catalogue.groups.flatMap(pathsOf)) }
      for (const path of rendered.keys()) if (!known.byPath.has(path)) rendered.delete(path)
    }
    return known.byPath
  }
  const document: OpenApi['document'] = (path) => {
    const resources = byPath().get(path)
    if (resources === undefined) return undefined
    let found = rendered.get(path)
    if (found === undefined || !isSame(found.resources, resources)) {
      found = renderDocument(resources)
      rendered.set(path, found)
    }
    return found
  }
  return {
    document,
    index: () => ({
      paths: Object.fromEntries(
        [...byPath().keys()].map((path) => [
          path,
          { serverRelativeURL: `/openapi/v3/${path}?hash=${document(path)?.hash ?? ''}` },
        ]),
      ),
    }),
  }
}

function pathsOf({ versions }: Catalogue['groups'][number]): [string, readonly Resource[]][] {
  return versions.flatMap(({ resources }) => {
    const first = resources[0]
    return first === undefined ? [] : [[pathOf(first.info), resources] satisfies [string, readonly Resource[]]]
  })
}

function isSame(a: readonly Resource[], b: readonly Resource[]): boolean {
  return a.length === b.length && a.every((resource, index) => resource === b[index])
}

function renderDocument(resources: readonly Resource[]): Rendered {
  const bytes = Buffer.from(JSON.stringify(renderOpenApiV3(resources)))
  return { resources, bytes, hash: createHash('sha256').update(bytes).digest('hex').slice(0, 32).toUpperCase() }
}

/**
 * The document of one group-version: a path for each verb of its kinds and the schemas of their fields, without
 * descriptions. kubectl reads from the paths whether fields are validated and dry runs possible, from the schemas what
 * `kubectl explain` shows.
 */
function renderOpenApiV3(resources: readonly Resource[]): unknown {
  const kinds = resources.map(({ info }) => info)
  const builtIn = resources.flatMap(({ info, custom }) => (custom === undefined ? [info] : []))
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: 'v1.36.0' },
    paths: Object.fromEntries(kinds.flatMap(renderPaths)),
    components: { schemas: { ...renderSchemas(builtIn), ...renderCustomSchemas(resources) } },
  }
}

function pathOf({ apiVersion, group }: KindInfo): string {
  return `${group === '' ? 'api' : 'apis'}/${apiVersion}`
}

/** HTTP method and action name of the verbs on a collection and on one object. */
const collectionVerbs = { create: ['post', 'post'], list: ['get', 'list'] } as const
const objectVerbs = {
  get: ['get', 'get'],
  update: ['put', 'put'],
  patch: ['patch', 'patch'],
  delete: ['delete', 'delete'],
} as const

function renderPaths(kind: KindInfo): [string, Schema][] {
  const scope = kind.namespaced ? 'namespaces/{namespace}/' : ''
  const collection = `/${pathOf(kind)}/${scope}${kind.plural}`
  const places: [string, Schema][] = [
    [collection, renderOperations(kind, collectionVerbs)],
    [`${collection}/{name}`, renderOperations(kind, objectVerbs)],
  ]
  return places.filter(([, operations]) => Object.keys(operations).length > 0)
}

function renderOperations(kind: KindInfo, verbs: Readonly<Record<string, readonly [string, string]>>): Schema {
  const { group, version, kind: name } = kind
  return Object.fromEntries(
    Object.entries(verbs)
      .filter(([verb]) => kind.verbs.includes(verb))
      .map(([, [method, action]]) => [
        method,
        {
          parameters: parametersOf(action).map(renderParameter),
          responses: { 200: { description: 'OK' } },
          'x-kubernetes-action': action,
          'x-kubernetes-group-version-kind': { group, kind: name, version },
        },
      ]),
  )
}

function parametersOf(action: string): string[] {
  if (action === 'patch') return ['dryRun', 'fieldManager', 'fieldValidation', 'force']
  if (action === 'post' || action === 'put') return ['dryRun', 'fieldManager', 'fieldValidation']
  return action === 'delete' ? ['dryRun', 'gracePeriodSeconds', 'propagationPolicy'] : []
}

function renderParameter(name: string): Schema {
  const types: Record<string, string> = { force: 'boolean', gracePeriodSeconds: 'integer' }
  return { name, in: 'query', schema: { type: types[name] ?? 'string', uniqueItems: true } }
}
