import { parseExactJson, renderExactJson, renderYaml } from '@fairlead/kube/codec'
import type { KubeObject, ListMeta } from '@fairlead/kube/types'

import type { Entry, Piece } from '../storage/collection.ts'
import type { ApiResponse } from './exchange.ts'
import type { Format } from './negotiate.ts'
import {
  renderItemHead,
  renderProtobufItem,
  renderProtobufListFrame,
  renderProtobufObject,
  renderProtobufValue,
} from './render-protobuf.ts'
import { readObject } from './resource.ts'
import type { Resource } from './resource.ts'
import { notAcceptableShape } from './status.ts'

/** An answer with a value that is not a stored object: discovery, reviews, `Status`. */
export function respond(status: number, value: unknown, format?: Pick<Format, 'encoding' | 'isPretty'>): ApiResponse {
  const protobuf = format?.encoding === 'protobuf' ? renderProtobufValue(value) : undefined
  const contentType = protobuf === undefined ? textTypes[format?.encoding ?? 'json'] : protobufType
  const bytes = protobuf ?? Buffer.concat([renderText(value, format), format?.encoding === 'yaml' ? nothing : lineEnd])
  return { status, headers: { 'content-type': contentType }, body: { pieces: [bytes] } }
}

/** The bytes of {@link respond}. What has no protobuf form is JSON. */
export function renderValue(value: unknown, format: Pick<Format, 'encoding' | 'isPretty'>): Buffer {
  return (format.encoding === 'protobuf' ? renderProtobufValue(value) : undefined) ?? renderText(value, format)
}

function renderText(value: unknown, format: Pick<Format, 'encoding' | 'isPretty'> | undefined): Buffer {
  if (format?.encoding === 'yaml') return Buffer.from(renderYaml(value))
  return Buffer.from(renderExactJson(value, format?.isPretty === true ? 2 : 0))
}

const lineEnd = Buffer.from('\n')

const protobufType = 'application/vnd.kubernetes.protobuf'
const textTypes = { json: 'application/json', yaml: 'application/yaml', protobuf: 'application/json' } as const

/** An answer with one stored object in the shape the client asked for. The stored bytes are sent as they are. */
export function respondObject(
  status: number,
  resource: Resource,
  entry: Pick<Entry, 'bytes'>,
  format: Format,
  headers: ApiResponse['headers'] = {},
): ApiResponse {
  if (format.isListShape) {
    throw notAcceptableShape('PartialObjectMetadataList', `not a list (*${goTypeOf(resource)})`)
  }
  const body = isRaw(format) ? renderEntry(resource, entry, format) : pretty(resource, entry, format)
  return { status, headers: { ...headers, 'content-type': format.contentType }, body: { pieces: [body] } }
}

/** Whether what {@link renderEntry} gives is sent as it is. */
export function isRaw(format: Format): boolean {
  return format.encoding === 'protobuf' || (format.encoding === 'json' && !format.isPretty)
}

/** `v1.Pod`: how upstream names the type of an object in messages. */
export function goTypeOf({ info, custom }: Resource): string {
  return custom === undefined ? `${info.version}.${info.kind}` : 'unstructured.Unstructured'
}

/** One object in the given shape, as JSON bytes; a table has one row. */
export function renderEntry(resource: Resource, entry: Pick<Entry, 'bytes'>, format: Format): Buffer {
  if (format.encoding === 'protobuf') return renderProtobufObject(resource, entry, format)
  if (format.shape === 'object') return renderFull(resource, entry)
  const object = readObject(resource, entry)
  if (format.shape === 'metadata') return Buffer.from(renderExactJson(partial(object, format)))
  const table = {
    ...tableHead(resource, { resourceVersion: object.metadata.resourceVersion }, format),
    rows: [toRow(resource, object, format)],
  }
  return Buffer.from(renderExactJson(table))
}

/** One object inside a list of that shape: the row of a table, or the object; as it is in memory where that is enough. */
export function renderItem(resource: Resource, entry: Entry, format: Format): Piece {
  if (format.encoding === 'protobuf') return renderProtobufItem(resource, entry, format)
  if (format.shape === 'table')
    return Buffer.from(renderExactJson(toRow(resource, readObject(resource, entry), format)))
  if (format.shape === 'object' && resource.form.isVerbatim(entry)) return entry.piece
  return renderEntry(resource, entry, format)
}

/** The pieces of a list around its items; protobuf has to know their `size`. */
export function renderListFrame(
  resource: Resource,
  metadata: ListMeta,
  format: Format,
  size: number,
): { head: Buffer; tail: Buffer } {
  if (format.encoding === 'protobuf') return renderProtobufListFrame(resource, metadata, format, size)
  if (format.shape === 'table') return split(tableHead(resource, metadata, format), 'rows')
  const metaKind = { kind: 'PartialObjectMetadataList', apiVersion: `meta.k8s.io/${format.metaVersion}` }
  if (format.shape === 'metadata') return split({ ...metaKind, metadata }, 'items')
  const { kind, apiVersion } = resource.info
  return split({ kind: resource.custom?.listKind ?? `${kind}List`, apiVersion, metadata }, 'items')
}

/** What stands before an item of a list. */
export function renderSeparator(itemBytes: number, isFirst: boolean, format: Format): Buffer {
  if (format.encoding === 'protobuf') return renderItemHead(itemBytes)
  return isFirst ? nothing : comma
}

const comma = Buffer.from(',')
const nothing = Buffer.alloc(0)

/** The object of a BOOKMARK event: nothing but a place in history. */
export function renderBookmark(resource: Resource, revision: number, isInitialEnd: boolean, format: Format): Buffer {
  const annotations = isInitialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}
  const metadata = { resourceVersion: String(revision), ...annotations }
  const { kind, apiVersion } = resource.info
  const object = { kind, apiVersion, metadata }
  if (format.encoding === 'protobuf') {
    return renderValue(format.shape === 'object' ? object : partial(object, format), format)
  }
  if (format.shape === 'object') return Buffer.from(JSON.stringify(object))
  const partialObject = partial(object, format)
  if (format.shape === 'metadata') return Buffer.from(JSON.stringify(partialObject))
  const rows = isInitialEnd ? [{ cells: resource.strategy.columns.map(() => ''), object: partialObject }] : []
  return Buffer.from(JSON.stringify({ ...tableHead(resource, { resourceVersion: String(revision) }, format), rows }))
}

function renderFull(resource: Resource, entry: Pick<Entry, 'bytes'>): Buffer {
  if (resource.form.isVerbatim(entry)) return entry.bytes
  return Buffer.from(renderExactJson(readObject(resource, entry)))
}

function pretty(resource: Resource, entry: Pick<Entry, 'bytes'>, format: Format): Buffer {
  const value = parseExactJson(renderEntry(resource, entry, format).toString('utf8'))
  return Buffer.from(format.encoding === 'yaml' ? renderYaml(value) : `${renderExactJson(value, 2)}\n`)
}

function partial({ metadata }: Pick<KubeObject, 'metadata'>, { metaVersion }: Format): unknown {
  return { kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${metaVersion}`, metadata }
}

function tableHead(
  resource: Resource,
  metadata: ListMeta,
  { metaVersion, isHeadless = false }: Format,
): Record<string, unknown> {
  const columnDefinitions = isHeadless ? null : columnsOf(resource)
  return { kind: 'Table', apiVersion: `meta.k8s.io/${metaVersion}`, metadata, columnDefinitions }
}

function columnsOf({ strategy }: Resource): unknown[] {
  return strategy.columns.map((column) => ({
    name: column.name,
    type: column.type,
    format: column.format ?? '',
    description: column.description ?? '',
    priority: column.priority ?? 0,
  }))
}

function toRow(resource: Resource, object: KubeObject, format: Format): unknown {
  const cells = resource.strategy.row(object, Date.now())
  if (format.rowObject === 'None') return { cells }
  return { cells, object: format.rowObject === 'Object' ? object : partial(object, format) }
}

function split(head: Record<string, unknown>, items: string): { head: Buffer; tail: Buffer } {
  const text = JSON.stringify(head)
  return { head: Buffer.from(`${text.slice(0, -1)},"${items}":[`), tail: Buffer.from(']}\n') }
}
