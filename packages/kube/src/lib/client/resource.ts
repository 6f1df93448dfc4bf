import type { ListMeta, ObjectMeta } from '../types/generated/meta-v1.ts'
import type { Scale } from '../types/generated/autoscaling-v1.ts'
import type { WatchEvent } from './watch.ts'

/** The least every object of the API is: something with metadata. */
export interface KubeResource {
  apiVersion?: string | undefined
  kind?: string | undefined
  metadata?: ObjectMeta | undefined
}

/** Options of every call on one object. */
export interface ObjectOptions {
  /** Default: the object's own, else the client's. Ignored for kinds without namespaces. */
  readonly namespace?: string | undefined
  readonly signal?: AbortSignal | undefined
}

export interface WriteOptions extends ObjectOptions {
  /** Check and default everything, store nothing. */
  readonly dryRun?: boolean | undefined
  readonly fieldManager?: string | undefined
  /** What the server does with unknown fields. Default: its own, `Warn`. */
  readonly fieldValidation?: 'Ignore' | 'Warn' | 'Strict' | undefined
}

export interface SubresourceOptions extends WriteOptions {
  /** Such as `status`, `scale` or `finalize`. */
  readonly subresource?: string | undefined
}

/** A change to an object; the type decides the content type of the request. `apply` needs a `fieldManager`. */
export interface Patch {
  readonly type: 'merge' | 'strategic' | 'json' | 'apply'
  readonly body: unknown
}

export interface PatchOptions extends SubresourceOptions {
  /** With `apply`: take over fields that others own (409 Conflict otherwise). Default false. */
  readonly force?: boolean | undefined
}

/** What one manager wants of an object: any part of its type. */
export type Applied<T> = T extends readonly (infer E)[]
  ? readonly Applied<E>[]
  : T extends object
    ? { readonly [K in keyof T]?: Applied<T[K]> | undefined }
    : T

export interface ApplyOptions extends PatchOptions {
  /** Who owns the fields applied, such as `shop-operator`; the same name each time. */
  readonly fieldManager: string
}

export interface DeleteOptions extends ObjectOptions {
  readonly dryRun?: boolean | undefined
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan' | undefined
  readonly gracePeriodSeconds?: number | undefined
  /** Delete only while the object has this uid (409 Conflict otherwise). */
  readonly uid?: string | undefined
  /** Delete only this version (409 Conflict otherwise). */
  readonly resourceVersion?: string | undefined
}

/** Which objects of a kind: one namespace, all of them, or those that match selectors. */
export interface SelectionOptions {
  /** Default: the client's. Ignored for kinds without namespaces. */
  readonly namespace?: string | undefined
  readonly allNamespaces?: boolean | undefined
  readonly labelSelector?: string | undefined
  readonly fieldSelector?: string | undefined
  readonly resourceVersion?: string | undefined
  /** Ask for `PartialObjectMetadata` only; a server that cannot answers with whole objects. */
  readonly metadataOnly?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

export interface ListOptions extends SelectionOptions {
  readonly limit?: number | undefined
  readonly continue?: string | undefined
}

export interface WatchOptions extends SelectionOptions {
  readonly timeoutSeconds?: number | undefined
  readonly allowBookmarks?: boolean | undefined
  /** Begin with an `ADDED` event for everything that exists, then a bookmark with the annotation `k8s.io/initial-events-end` (KEP-3157). */
  readonly sendInitialEvents?: boolean | undefined
  /** Milliseconds without an event or bookmark after which the connection counts as lost (FAIRLEAD_KUBE_DEADLINE). Default: never. */
  readonly idleMs?: number | undefined
}

/** Which objects to delete at once, and how. */
export interface DeleteCollectionOptions extends Pick<
  DeleteOptions,
  'dryRun' | 'propagationPolicy' | 'gracePeriodSeconds' | 'signal'
> {
  /** Default: the client's. There is no way to delete from all namespaces in one call. */
  readonly namespace?: string | undefined
  readonly labelSelector?: string | undefined
  readonly fieldSelector?: string | undefined
}

export interface EachOptions extends SelectionOptions {
  /** Objects per request. Default 500. */
  readonly pageSize?: number | undefined
}

/** A list as the API gives it; every item carries `apiVersion` and `kind`. */
export interface ResourceList<T> {
  readonly items: T[]
  readonly metadata: ListMeta
}

/** The verbs of one kind. Every call rejects with KubeError when the server says no. */
export interface ResourceClient<T extends KubeResource> {
  /** What this client was made for. */
  readonly apiVersion: string
  readonly kind: string
  get(name: string, options?: SubresourceOptions): Promise<T>
  list(options?: ListOptions): Promise<ResourceList<T>>
  /**
   * Every object of a selection, page by page (`limit` and `continue`). A server that forgot the first page's version in between
   * (410) goes on from a newer one, so objects changed meanwhile may be told in their new form.
   */
  each(options?: EachOptions): AsyncIterable<T>
  /** Ends when the server ends the watch; throws the signal's reason when aborted, KubeError for an `ERROR` event. */
  watch(options?: WatchOptions): AsyncIterable<WatchEvent<T>>
  create(object: T, options?: WriteOptions): Promise<T>
  /** Replaces the whole object. With `metadata.resourceVersion` set, only that version (409 Conflict otherwise). */
  update(object: T, options?: SubresourceOptions): Promise<T>
  updateStatus(object: T, options?: WriteOptions): Promise<T>
  patch(name: string, patch: Patch, options?: PatchOptions): Promise<T>
  /** Server-side apply (KEP-555): creates the object or makes the fields given what they are here; fields this manager gave before and gives no more are removed. */
  apply(object: Applied<T>, options: ApplyOptions): Promise<T>
  getScale(name: string, options?: ObjectOptions): Promise<Scale>
  /** Sets `spec.replicas` through the `scale` subresource. */
  scale(name: string, replicas: number, options?: WriteOptions): Promise<Scale>
  /** Posts to a subresource, such as `eviction`, `binding` or `token`, and returns its answer. */
  createSubresource<B extends KubeResource>(
    name: string,
    subresource: string,
    body: B,
    options?: WriteOptions,
  ): Promise<B>
  /** Resolves once the server has accepted; an object with finalizers or a grace period is still there. */
  delete(name: string, options?: DeleteOptions): Promise<void>
  deleteCollection(options?: DeleteCollectionOptions): Promise<void>
}
