import type { Scale } from '../types/generated/autoscaling-v1.ts'
import { objectIncomplete } from './errors.ts'
import { isGone } from './kube-error.ts'
import type {
  DeleteCollectionOptions,
  DeleteOptions,
  EachOptions,
  KubeResource,
  ListOptions,
  Patch,
  PatchOptions,
  ResourceClient,
  ResourceList,
  SelectionOptions,
  SubresourceOptions,
  WatchOptions,
  WriteOptions,
} from './resource.ts'
import { readBytes } from './transport.ts'
import type { TransportRequest, TransportResponse } from './transport.ts'
import { parseWatch } from './watch.ts'
import type { WatchEvent } from './watch.ts'

/** Where the objects of a kind live. */
export interface ResourceLocation {
  readonly group: string
  readonly version: string
  readonly plural: string
  readonly namespaced: boolean
}

export interface ResourceClientOptions {
  readonly apiVersion: string
  readonly kind: string
  readonly namespace: string
  readonly request: (request: TransportRequest) => Promise<TransportResponse>
  /** The same, with the answer read as JSON. */
  readonly requestJson: (request: TransportRequest) => Promise<unknown>
  readonly locate: () => ResourceLocation | Promise<ResourceLocation>
}

const contentTypes = {
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  json: 'application/json-patch+json',
  // JSON is YAML.
  apply: 'application/apply-patch+yaml',
} as const

const acceptMetadata = {
  object: 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json',
  list: 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json',
} as const

type Query = Readonly<Record<string, string | number | boolean | undefined>>

/** The verbs of one kind, as HTTP requests. */
export function createResourceClient<T extends KubeResource>(options: ResourceClientOptions): ResourceClient<T> {
  const { apiVersion, kind, request, requestJson } = options

  async function collection(selection: SelectionOptions, query: Query): Promise<string> {
    const location = await options.locate()
    const namespace = selection.allNamespaces === true ? undefined : (selection.namespace ?? options.namespace)
    return renderPath(location, { namespace, query: { ...query, ...selectionQuery(selection) } })
  }

  async function item(name: string | undefined, address: SubresourceOptions, query: Query = {}): Promise<string> {
    if (name === undefined || name === '') {
      throw objectIncomplete(kind, 'metadata.name')
    }
    const { namespace = options.namespace, subresource } = address
    return renderPath(await options.locate(), { namespace, name, subresource, query })
  }

  async function send<R = T>(
    method: string,
    path: string,
    rest: Omit<TransportRequest, 'method' | 'path'>,
  ): Promise<R> {
    // The server answers with the kind the path names.
    return (await requestJson({ method, path, ...rest })) as R
  }

  async function patchAs<R>(name: string | undefined, patch: Patch, given: PatchOptions): Promise<R> {
    const headers = { accept: 'application/json', 'content-type': contentTypes[patch.type] }
    const path = await item(name, given, { ...writeQuery(given), force: given.force })
    return send<R>('PATCH', path, { headers, body: JSON.stringify(patch.body), signal: given.signal })
  }

  function withKind(object: T): T {
    return object.apiVersion === undefined || object.kind === undefined ? { ...object, apiVersion, kind } : object
  }

  const client: ResourceClient<T> = {
    apiVersion,
    kind,

    async get(name, given = {}) {
      return send('GET', await item(name, given), { headers: acceptJson, signal: given.signal })
    },

    async list(given: ListOptions = {}): Promise<ResourceList<T>> {
      const path = await collection(given, { limit: given.limit, continue: given.continue })
      const headers = given.metadataOnly === true ? { accept: acceptMetadata.list } : acceptJson
      const list = await send<ListJson<T>>('GET', path, { headers, signal: given.signal })
      // Items of a list carry no kind of their own on the wire.
      const items = list.items ?? []
      for (const object of items) {
        object.apiVersion ??= apiVersion
        object.kind ??= kind
      }
      return { items, metadata: list.metadata ?? {} }
    },

    async *each(given: EachOptions = {}): AsyncGenerator<T, void, undefined> {
      const { pageSize = 500, ...selection } = given
      // A page belongs to the version of the first; to name another with it is an error.
      let next: ListOptions = { ...selection, limit: pageSize }
      for (;;) {
        const { items, metadata } = await listPage(next)
        yield* items
        if (metadata.continue === undefined || metadata.continue === '') {
          return
        }
        next = { ...selection, resourceVersion: undefined, limit: pageSize, continue: metadata.continue }
      }
    },

    async *watch(given: WatchOptions = {}): AsyncGenerator<WatchEvent<T>, void, undefined> {
      const path = await collection(given, {
        watch: true,
        timeoutSeconds: given.timeoutSeconds,
        allowWatchBookmarks: given.allowBookmarks,
        sendInitialEvents: given.sendInitialEvents,
        resourceVersionMatch: given.sendInitialEvents === true ? 'NotOlderThan' : undefined,
      })
      const headers = given.metadataOnly === true ? { accept: acceptMetadata.object } : acceptJson
      const response = await request({
        method: 'GET',
        path,
        headers,
        signal: given.signal,
        deadlineMs: 0,
        idleMs: given.idleMs,
      })
      yield* parseWatch<T>(response.body)
    },

    async create(object, given = {}) {
      const namespace = given.namespace ?? object.metadata?.namespace ?? options.namespace
      const path = renderPath(await options.locate(), { namespace, query: writeQuery(given) })
      return send('POST', path, { headers: jsonHeaders, body: JSON.stringify(withKind(object)), signal: given.signal })
    },

    async update(object, given: SubresourceOptions = {}) {
      const namespace = given.namespace ?? object.metadata?.namespace
      const path = await item(object.metadata?.name, { ...given, namespace }, writeQuery(given))
      return send('PUT', path, { headers: jsonHeaders, body: JSON.stringify(withKind(object)), signal: given.signal })
    },

    updateStatus: (object, given) => client.update(object, { ...given, subresource: 'status' }),

    patch: (name, patch, given = {}) => patchAs<T>(name, patch, given),

    async apply(object, given) {
      const body = { ...object, apiVersion, kind }
      const { metadata } = body as KubeResource
      const namespace = given.namespace ?? metadata?.namespace
      return patchAs<T>(metadata?.name, { type: 'apply', body }, { ...given, namespace })
    },

    async getScale(name, given = {}) {
      const path = await item(name, { ...given, subresource: 'scale' })
      return send<Scale>('GET', path, { headers: acceptJson, signal: given.signal })
    },

    scale: (name, replicas, given = {}) =>
      patchAs<Scale>(name, { type: 'merge', body: { spec: { replicas } } }, { ...given, subresource: 'scale' }),

    async createSubresource<B extends KubeResource>(
      name: string,
      subresource: string,
      body: B,
      given: WriteOptions = {},
    ): Promise<B> {
      const path = await item(name, { ...given, subresource }, writeQuery(given))
      return send<B>('POST', path, { headers: jsonHeaders, body: JSON.stringify(body), signal: given.signal })
    },

    async delete(name, given: DeleteOptions = {}) {
      const path = await item(name, given)
      const body = JSON.stringify(toDeleteOptions(given))
      const response = await request({ method: 'DELETE', path, headers: jsonHeaders, body, signal: given.signal })
      await readBytes(response.body)
    },

    async deleteCollection(given: DeleteCollectionOptions = {}) {
      const path = await collection(given, {})
      const body = JSON.stringify(toDeleteOptions(given))
      const response = await request({ method: 'DELETE', path, headers: jsonHeaders, body, signal: given.signal })
      await readBytes(response.body)
    },
  }

  /** One page; a continue token that is too old brings a newer one, to go on with (`inconsistent continue`). */
  async function listPage(given: ListOptions): Promise<ResourceList<T>> {
    try {
      return await client.list(given)
    } catch (error) {
      const next = isGone(error) && given.continue !== undefined ? error.status.metadata?.continue : undefined
      if (next === undefined || next === '') {
        throw error
      }
      return client.list({ ...given, continue: next })
    }
  }
  return client
}

interface ListJson<T> {
  readonly items?: T[] | null
  readonly metadata?: ResourceList<T>['metadata']
}

const acceptJson = { accept: 'application/json' } as const
const jsonHeaders = { accept: 'application/json', 'content-type': 'application/json' } as const

/** The path of a collection or an object, with its query. */
function renderPath(
  location: ResourceLocation,
  address: {
    namespace?: string | undefined
    name?: string | undefined
    subresource?: string | undefined
    query?: Query
  },
): string {
  const { group, version, plural, namespaced } = location
  const parts = [group === '' ? `/api/${version}` : `/apis/${group}/${version}`]
  if (namespaced && address.namespace !== undefined) {
    parts.push('namespaces', encodeURIComponent(address.namespace))
  }
  parts.push(plural)
  if (address.name !== undefined) {
    parts.push(encodeURIComponent(address.name))
  }
  if (address.subresource !== undefined) {
    parts.push(address.subresource)
  }
  const query = renderQuery(address.query ?? {})
  return query === '' ? parts.join('/') : `${parts.join('/')}?${query}`
}

function renderQuery(query: Query): string {
  const pairs = Object.entries(query).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${encodeURIComponent(value)}`],
  )
  return pairs.join('&')
}

function selectionQuery({ labelSelector, fieldSelector, resourceVersion }: SelectionOptions): Query {
  return { labelSelector: labelSelector === '' ? undefined : labelSelector, fieldSelector, resourceVersion }
}

function writeQuery({ dryRun, fieldManager, fieldValidation }: WriteOptions): Query {
  return { dryRun: dryRun === true ? 'All' : undefined, fieldManager, fieldValidation }
}

function toDeleteOptions({
  propagationPolicy,
  gracePeriodSeconds,
  uid,
  resourceVersion,
  dryRun,
}: DeleteOptions): object {
  return {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    propagationPolicy,
    gracePeriodSeconds,
    dryRun: dryRun === true ? ['All'] : undefined,
    preconditions: uid === undefined && resourceVersion === undefined ? undefined : { uid, resourceVersion },
  }
}
