import { renderYaml } from '@fairlead/kube/codec'
import type { KubeObject, ListMeta } from '@fairlead/kube/types'

import type { Entry } from '../storage/collection.ts'
import type { ApiResponse } from './exchange.ts'
import type { Format } from './negotiate.ts'
import { readObject } from './resource.ts'
import type { Resource } from './resource.ts'

/** An answer with a value that is not a stored object: discovery, reviews, `Status`. */
export function respond(status: number, value: unknown, format?: Pick<Format, 'encoding' | 'isPretty'>): ApiResponse {
  const isYaml = format?.encoding === 'yaml'
  const text = isYaml ? renderYaml(value) : `${JSON.stringify(value, null, format?.isPretty === true ? 2 : 0)}\n`
  const contentType = isYaml ? 'application/yaml' : 'application/json'
  return { status, headers: { 'content-type': contentType }, body: { pieces: [Buffer.from(text)] } }
}

/** An answer with one stored object in the shape the client asked for. The stored bytes are sent as they are. */
export function respondObject(
  status: number,
  resource: Resource,
  bytes: Buffer,
  format: Format,
  headers: ApiResponse['headers'] = {},
): ApiResponse {
  const body =
    format.encoding === 'json' && !format.isPretty
      ? renderEntry(resource, toEntry(bytes), format)
      : pretty(resource, bytes, format)
  return { status, headers: { ...headers, 'content-type': format.contentType }, body: { pieces: [body] } }
}

/** One object in the given shape, as JSON bytes; a table has one row. */
export function renderEntry(resource: Resource, entry: Pick<Entry, 'bytes'>, format: Format): Buffer {
  if (format.shape === 'object') return renderFull(resource, entry)
  const object = readObject(resource, entry)
  if (format.shape === 'metadata') return Buffer.from(JSON.stringify(partial(object)))
  const table = {
    ...tableHead(resource, { resourceVersion: object.metadata.resourceVersion }),
    rows: [toRow(resource, object, format)],
  }
  return Buffer.from(JSON.stringify(table))
}

/** One object inside a list of that shape: the row of a table, or the object. */
export function renderItem(resource: Resource, entry: Entry, format: Format): Buffer {
  if (format.shape !== 'table') return renderEntry(resource, entry, format)
  return Buffer.from(JSON.stringify(toRow(resource, readObject(resource, entry), format)))
}

/** What stands before and after the items of a list. */
export function renderListFrame(
  resource: Resource,
  metadata: ListMeta,
  format: Format,
): { head: Buffer; tail: Buffer } {
  if (format.shape === 'table') return split(tableHead(resource, metadata), 'rows')
  if (format.shape === 'metadata') {
    return split({ kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1', metadata }, 'items')
  }
  const { kind, apiVersion } = resource.info
  return split({ kind: resource.custom?.listKind ?? `${kind}List`, apiVersion, metadata }, 'items')
}

/** The object of a BOOKMARK event: nothing but a place in history. */
export function renderBookmark(resource: Resource, revision: number, isInitialEnd: boolean, format: Format): Buffer {
  const annotations = isInitialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}
  const metadata = { resourceVersion: String(revision), ...annotations }
  const { kind, apiVersion } = resource.info
  if (format.shape === 'object') return Buffer.from(JSON.stringify({ kind, apiVersion, metadata }))
  const partialObject = { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata }
  if (format.shape === 'metadata') return Buffer.from(JSON.stringify(partialObject))
  const rows = isInitialEnd ? [{ cells: resource.strategy.columns.map(() => ''), object: partialObject }] : []
  return Buffer.from(JSON.stringify({ ...tableHead(resource, { resourceVersion: String(revision) }), rows }))
}

function renderFull(resource: Resource, entry: Pick<Entry, 'bytes'>): Buffer {
  if (resource.form.isVerbatim(entry.bytes)) return entry.bytes
  return Buffer.from(JSON.stringify(readObject(resource, entry)))
}

function pretty(resource: Resource, bytes: Buffer, format: Format): Buffer {
  const value: unknown = JSON.parse(renderEntry(resource, toEntry(bytes), format).toString('utf8'))
  return Buffer.from(format.encoding === 'yaml' ? renderYaml(value) : `${JSON.stringify(value, null, 2)}\n`)
}

function toEntry(bytes: Buffer): Pick<Entry, 'bytes'> {
  return { bytes }
}

function partial(object: KubeObject): unknown {
  return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata }
}

function tableHead(resource: Resource, metadata: ListMeta): Record<string, unknown> {
  const columnDefinitions = resource.strategy.columns.map((column) => ({
    name: column.name,
    type: column.type,
    format: column.format ?? '',
    description: column.description ?? '',
    priority: column.priority ?? 0,
  }))
  return { kind: 'Table', apiVersion: 'meta.k8s.io/v1', metadata, columnDefinitions }
}

function toRow(resource: Resource, object: KubeObject, format: Format): unknown {
  const cells = resource.strategy.row(object, Date.now())
  if (format.rowObject === 'None') return { cells }
  return { cells, object: format.rowObject === 'Object' ? object : partial(object) }
}

function split(head: Record<string, unknown>, items: string): { head: Buffer; tail: Buffer } {
  const text = JSON.stringify(head)
  return { head: Buffer.from(`${text.slice(0, -1)},"${items}":[`), tail: Buffer.from(']}\n') }
}
