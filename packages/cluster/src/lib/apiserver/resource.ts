import { parseExactJson } from '@fairlead/kube/codec'
import { encodeWithFields } from '@fairlead/kube/patch'
import { findResource, subresourcesOf } from '@fairlead/kube/types'
import type { JSONSchemaProps } from '@fairlead/kube/types/apiextensions-v1'
import type { Scale } from '@fairlead/kube/types/autoscaling-v1'
import type { KindInfo, KubeObject, SubresourceInfo } from '@fairlead/kube/types'

import type { Entry } from '../storage/collection.ts'
import { strategyOf } from './kinds/strategy-of.ts'
import { servedSubresources } from './route.ts'
import type { KindStrategy } from './strategy.ts'
import { convert, storageKind } from './versions.ts'

/** A resource of the API with everything the verbs need to know of it. */
export interface Resource {
  readonly info: KindInfo
  readonly strategy: KindStrategy
  /** The version whose rules decide writes and in which objects are stored: this one, or another of the same objects. */
  readonly stored: Resource
  /** How this version looks at stored bytes. */
  readonly form: StoredForm
  /** Subresources that are answered; discovery announces exactly these. */
  readonly subresources: readonly SubresourceInfo[]
  /** Name of the collection in the store. */
  readonly collection: string
  /** Whether `metadata.generation` counts changes of what is desired. */
  readonly hasGeneration: boolean
  /** Field selectors beyond name and namespace. */
  readonly selectableFields: ReadonlySet<string>
  /** What is different in a resource that is defined by an object. */
  readonly custom?: CustomKind
  /** Aborts when the resource is served no more, or in another way: its watches end. */
  readonly retired?: AbortSignal
}

/** A resource that no table knows: a custom one, or one of another server. */
export interface CustomKind {
  /** The schema of the objects; merging (server-side apply) and OpenAPI read it. */
  readonly schema: JSONSchemaProps
  /** Whether its definition is being deleted: no new objects then. */
  readonly isTerminating: boolean
  /** Whether a change of the status is a new generation: it is no subresource. */
  readonly countsStatus: boolean
  readonly listKind: string
  /** The `apiVersion` in which objects are stored. */
  readonly storedAs: string
  /** A warning for everyone who uses this version. */
  readonly deprecation: string | undefined
  /**
   * Brings an object as sent to the form the schema wants (unknown fields are removed, defaults filled in) and tells what
   * did not fit: paths of unknown fields, and a sentence per value that cannot be read.
   */
  read(object: KubeObject): { unknown: string[]; wrong: string[] }
  /** `missing` stands for a number of replicas that is not there; without it that is an error. */
  readonly toScale?: (object: KubeObject, missing?: number) => KubeObject & Scale
  readonly applyScale?: (object: KubeObject, scale: KubeObject & Scale) => KubeObject
  /** Where each version of the definition keeps the number of replicas; an empty path where it has no scale. */
  readonly replicasPaths?: ReadonlyMap<string, readonly string[]>
}

/** Thrown where an object is wanted in a version that another process has to make; whoever can wait does, and tries again. */
export class NeedsConversion extends Error {
  readonly convert: () => Promise<void>

  constructor(convert: () => Promise<void>) {
    super('the object has to be converted first')
    this.convert = convert
  }
}

const conversionAttempts = 8

/** Runs `attempt` again after each conversion it asks for. */
export async function converting<T>(attempt: () => Promise<T>): Promise<T> {
  for (let count = 1; ; count += 1) {
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof NeedsConversion) || count === conversionAttempts) throw error
      await error.convert()
    }
  }
}

/** How the objects of a version are read from what is stored. */
export interface StoredForm {
  /** Whether the stored bytes are, as they are, what clients of this version see. */
  isVerbatim(entry: Pick<Entry, 'bytes'>): boolean
  /** The object, fresh: the caller may change it. */
  read(bytes: Buffer): KubeObject
  /**
   * Makes `read` possible for these bytes where another process has to convert them: without, it throws NeedsConversion.
   * Absent where nothing has to be prepared.
   */
  prepare?(bytes: readonly Buffer[]): Promise<void>
  /** Throws NeedsConversion when an object cannot be written before another process has converted it. */
  ensureWritable?(object: KubeObject): void
  /** The object as stored, unconverted: enough to select it by. */
  peek?(bytes: Buffer): KubeObject
  /** The bytes to store for an object of this version, at `revision`, which is written into it. */
  write(object: KubeObject, revision: number): Buffer
}

/** What a version of an object is selected by; kept with the version. */
export interface Attributes {
  readonly labels: Readonly<Record<string, string>>
  readonly fields: Readonly<Record<string, string>>
  /** The version whose fields they are; empty when the object was in another. */
  readonly version: string
}

const resources = new Map<KindInfo, Resource>()

/** Facts about a resource, made at first use. */
export function resourceOf(info: KindInfo): Resource {
  let resource = resources.get(info)
  if (resource === undefined) {
    resource = createBuiltIn(info)
    resources.set(info, resource)
  }
  return resource
}

function createBuiltIn(info: KindInfo): Resource {
  const storedInfo = storageKind(info)
  const strategy = strategyOf(info)
  const names = servedSubresources(info)
  const facts = {
    info,
    strategy,
    collection: storedInfo.group === '' ? storedInfo.plural : `${storedInfo.group}/${storedInfo.plural}`,
    hasGeneration: counted.has(info.kind),
    selectableFields: new Set([...Object.keys(fieldsOfEmpty(info, strategy)), ...nameFields]),
    subresources: subresourcesOf(info).filter(({ name }) => names.includes(name)),
  }
  if (storedInfo !== info) return { ...facts, stored: resourceOf(storedInfo), form: convertedForm(info) }
  return {
    ...facts,
    form: verbatim,
    get stored() {
      return this
    },
  }
}

const verbatim: StoredForm = { isVerbatim: () => true, read: parseObject, write: stampRevision }

function convertedForm(info: KindInfo): StoredForm {
  return { isVerbatim: () => false, read: (bytes) => convert(parseObject(bytes), info), write: stampRevision }
}

function parseObject(bytes: Buffer): KubeObject {
  return parseExactJson(bytes.toString('utf8')) as KubeObject
}

/** A resource by its place in the table; for code that needs one particular resource. */
export function knownResource(group: string, version: string, plural: string): Resource {
  const info = findResource(group, version, plural)
  if (info === undefined) throw new TypeError(`Cannot find resource "${plural}" of "${group}/${version}" in the table`)
  return resourceOf(info)
}

export function idOf(namespace: string, name: string): string {
  return namespace === '' ? name : `${namespace}/${name}`
}

/** The object of an entry, fresh: the caller may change it. */
export function readObject(resource: Resource, entry: Pick<Entry, 'bytes'>): KubeObject {
  return resource.form.read(entry.bytes)
}

/** Selectable attributes of an entry, parsed once per version. */
export function attributesOf(resource: Resource, entry: Entry): Attributes {
  const kept = entry.cache as Attributes | undefined
  if (kept !== undefined) return kept
  const { stored } = resource
  const attributes = selectAttributes(stored, stored.form.peek?.(entry.bytes) ?? readObject(stored, entry))
  entry.cache = attributes
  return attributes
}

export function selectAttributes(resource: Resource, object: KubeObject): Attributes {
  const { name = '', namespace = '', labels = {} } = object.metadata
  const fields: Record<string, string> = { ...resource.strategy.fields?.(object), 'metadata.name': name }
  if (resource.info.namespaced) fields['metadata.namespace'] = namespace
  const { apiVersion } = resource.info
  return { labels, fields, version: object.apiVersion === apiVersion ? apiVersion : '' }
}

/** The stored form: identifying fields first, as people read them. */
export function serialise(object: KubeObject): Buffer {
  const { apiVersion, kind, metadata, ...rest } = object
  return encodeWithFields({ apiVersion, kind, metadata, ...rest })
}

/** The stored form of `object` at `revision`. */
export function stampRevision(object: KubeObject, revision: number): Buffer {
  object.metadata.resourceVersion = String(revision)
  return serialise(object)
}

const nameFields = ['metadata.name', 'metadata.namespace']

const counted = new Set([
  'Pod',
  'Deployment',
  'ReplicaSet',
  'StatefulSet',
  'DaemonSet',
  'ReplicationController',
  'Job',
  'CronJob',
  'Ingress',
  'NetworkPolicy',
  'PodDisruptionBudget',
  'EndpointSlice',
  'FlowSchema',
  'PriorityLevelConfiguration',
  'MutatingWebhookConfiguration',
  'ValidatingWebhookConfiguration',
  'ValidatingAdmissionPolicy',
  'CustomResourceDefinition',
  'IngressClass',
  'ResourceSlice',
])

function fieldsOfEmpty(info: KindInfo, strategy: KindStrategy): Record<string, string> {
  const empty = { apiVersion: info.apiVersion, kind: info.kind, metadata: {}, spec: {}, status: {} }
  return strategy.fields?.(empty) ?? {}
}
