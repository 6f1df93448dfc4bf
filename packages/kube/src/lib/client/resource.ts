import type { ListMeta, ObjectMeta } from '../types/generated/meta-v1.ts'
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

/** A change to an object; the type decides the content type of the request. */
export interface Patch {
  readonly type: 'merge' | 'strategic' | 'json'
  readonly body: unknown
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
  /** Ends when the server ends the watch; throws the signal's reason when aborted, KubeError for an `ERROR` event. */
  watch(options?: WatchOptions): AsyncIterable<WatchEvent<T>>
  create(object: T, options?: WriteOptions): Promise<T>
  /** Replaces the whole object. With `metadata.resourceVersion` set, only that version (409 Conflict otherwise). */
  update(object: T, options?: SubresourceOptions): Promise<T>
  updateStatus(object: T, options?: WriteOptions): Promise<T>
  patch(name: string, patch: Patch, options?: SubresourceOptions): Promise<T>
  delete(name: string, options?: DeleteOptions): Promise<void>
}
