import { encodeMessage, encodeProtobuf, renderElementHead, renderEnvelope } from '@fairlead/kube/codec'
import { findDefinition } from '@fairlead/kube/types'
import type { KubeObject, ListMeta } from '@fairlead/kube/types'

import type { Entry } from '../storage/collection.ts'
import { MessageCache } from './message-cache.ts'
import type { Format } from './negotiate.ts'
import { readObject } from './resource.ts'
import type { Resource } from './resource.ts'

const messages = new MessageCache()
const definitions = {
  partial: 'io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata',
  listMeta: 'io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta',
} as const

/** One stored object, or its metadata, in an envelope. */
export function renderProtobufObject(resource: Resource, entry: Pick<Entry, 'bytes'>, format: Format): Buffer {
  const message = renderProtobufItem(resource, entry, format)
  const { apiVersion, kind } =
    format.shape === 'object'
      ? resource.info
      : { apiVersion: `meta.k8s.io/${format.metaVersion}`, kind: 'PartialObjectMetadata' }
  const { head, tail } = renderEnvelope(apiVersion, kind, message.length)
  return Buffer.concat([head, message, tail])
}

/** The message of one object, as it stands in a list. */
export function renderProtobufItem(resource: Resource, entry: Pick<Entry, 'bytes'>, format: Format): Buffer {
  if (format.shape !== 'object') return encodeMessage(definitions.partial, readObject(resource, entry))
  const encode = (): Buffer => encodeMessage(resource.info.definition, readObject(resource, entry))
  return resource.form.isVerbatim(entry) ? messages.get(entry, encode) : encode()
}

/** What stands around the items of a list; `size` is that of the items together, heads included. */
export function renderProtobufListFrame(
  resource: Resource,
  metadata: ListMeta,
  format: Format,
  size: number,
): { head: Buffer; tail: Buffer } {
  const meta = encodeMessage(definitions.listMeta, metadata)
  const metaHead = renderElementHead(1, meta.length)
  const { apiVersion, kind } =
    format.shape === 'object'
      ? { apiVersion: resource.info.apiVersion, kind: `${resource.info.kind}List` }
      : { apiVersion: `meta.k8s.io/${format.metaVersion}`, kind: 'PartialObjectMetadataList' }
  const { head, tail } = renderEnvelope(apiVersion, kind, metaHead.length + meta.length + size)
  return { head: Buffer.concat([head, metaHead, meta]), tail }
}

export function renderItemHead(itemBytes: number): Buffer {
  return renderElementHead(2, itemBytes)
}

/** Any value with a kind of the table; undefined for one that has no protobuf form. */
export function renderProtobufValue(value: unknown): Buffer | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { apiVersion, kind } = value as Partial<KubeObject>
  if (apiVersion === undefined || kind === undefined) return undefined
  return findDefinition(apiVersion, kind) === undefined ? undefined : encodeProtobuf({ ...value, apiVersion, kind })
}

/**
 * An event of a watch: its length in four bytes, then `WatchEvent { type = 1, object = 2 { raw = 1 } }` where raw is the
 * object in its envelope.
 */
export function renderProtobufEvent(type: string, object: Buffer): Buffer {
  const rawHead = renderElementHead(1, object.length)
  const objectHead = renderElementHead(2, rawHead.length + object.length)
  const name = Buffer.from(type)
  const event = [renderElementHead(1, name.length), name, objectHead, rawHead, object]
  const length = Buffer.alloc(4)
  length.writeUInt32BE(event.reduce((sum, part) => sum + part.length, 0))
  return Buffer.concat([length, ...event])
}
