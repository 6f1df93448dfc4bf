import { createHash } from 'node:crypto'

import type { KindInfo } from '@fairlead/kube/types'

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

/** Documents of the given kinds, rendered when first asked for and kept. */
export function createOpenApi(kinds: readonly KindInfo[]): OpenApi {
  const byPath = Map.groupBy(kinds, pathOf)
  const rendered = new Map<string, { bytes: Buffer; hash: string }>()
  const document: OpenApi['document'] = (path) => {
    const listed = byPath.get(path)
    if (listed === undefined) return undefined
    let found = rendered.get(path)
    if (found === undefined) {
      const bytes = Buffer.from(JSON.stringify(renderOpenApiV3(listed)))
      found = { bytes, hash: createHash('sha256').update(bytes).digest('hex').slice(0, 32).toUpperCase() }
      rendered.set(path, found)
    }
    return found
  }
  return {
    document,
    index: () => ({
      paths: Object.fromEntries(
        [...byPath.keys()].map((path) => [
          path,
          { serverRelativeURL: `/openapi/v3/${path}?hash=${document(path)?.hash ?? ''}` },
        ]),
      ),
    }),
  }
}

/**
 * The document of one group-version: a path for each verb of its kinds and the schemas of their fields, without
 * descriptions. kubectl reads from the paths whether fields are validated and dry runs possible, from the schemas what
 * `kubectl explain` shows.
 */
function renderOpenApiV3(kinds: readonly KindInfo[]): unknown {
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: 'v1.36.0' },
    paths: Object.fromEntries(kinds.flatMap(renderPaths)),
    components: { schemas: renderSchemas(kinds) },
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
