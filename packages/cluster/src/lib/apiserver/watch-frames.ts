import type { Entry } from '../storage/collection.ts'
import { createFrame } from './exchange.ts'
import type { Frame } from './exchange.ts'
import type { Frames, SharedEvent } from './fan-out.ts'
import type { Format } from './negotiate.ts'
import { renderProtobufEvent } from './render-protobuf.ts'
import { renderBookmark, renderEntry, renderValue } from './render.ts'
import { readObject, stampRevision } from './resource.ts'
import type { Resource } from './resource.ts'
import type { Selection } from './selection.ts'
import type { StatusError } from './status.ts'

type EventType = keyof Frames | 'BOOKMARK' | 'ERROR'

/** Watchers of one shape are told the same. */
export function shapeOf(
  { info }: Resource,
  { encoding, shape, metaVersion, rowObject, isHeadless = false }: Format,
): string {
  return `${info.apiVersion} ${encoding} ${shape} ${metaVersion} ${rowObject} ${isHeadless}`
}

/** What a watcher is told of an event, if anything; the bytes are made once for all watchers that are told the same. */
export function frameOf(
  resource: Resource,
  selection: Selection,
  { event, frames }: SharedEvent,
  shape: string,
  format: Format,
): Frame | undefined {
  const { entry, previous } = event
  const isIn = event.operation === 'put' && selection.matches(entry)
  const wasIn = previous !== undefined && selection.matches(previous)
  if (!isIn && !wasIn) return undefined
  const type = isIn ? (wasIn ? 'MODIFIED' : 'ADDED') : 'DELETED'
  let kept = frames.get(shape)
  if (kept === undefined) frames.set(shape, (kept = {}))
  return (kept[type] ??= frame(type, renderEntry(resource, shownOf(resource, event, type), format), format))
}

/** An object that left the selection is reported as it was, at the revision at which it left. */
function shownOf(
  resource: Resource,
  { operation, entry, previous, revision }: SharedEvent['event'],
  type: keyof Frames,
): Pick<Entry, 'bytes'> {
  if (type !== 'DELETED' || operation !== 'put' || previous === undefined) return entry
  return { bytes: stampRevision(readObject(resource.stored, previous), revision) }
}

/** A line of the state that is sent first. */
export function stateLine(resource: Resource, entry: Entry, format: Format): Buffer {
  return line('ADDED', renderEntry(resource, entry, format), format)
}

/** The bookmark that marks the end of the state. */
export function initialEndLine(resource: Resource, revision: number, format: Format): Buffer {
  return line('BOOKMARK', renderBookmark(resource, revision, true, format), format)
}

export function bookmarkFrame(resource: Resource, revision: number, format: Format): Frame {
  return frame('BOOKMARK', renderBookmark(resource, revision, false, format), format)
}

export function errorFrame(error: StatusError, format: Format): Frame {
  return frame('ERROR', renderValue(error.status, { ...format, isPretty: false }), format)
}

function frame(type: EventType, object: Buffer, format: Format): Frame {
  return createFrame(line(type, object, format))
}

function line(type: EventType, object: Buffer, format: Format): Buffer {
  if (format.encoding === 'protobuf') return renderProtobufEvent(type, object)
  return Buffer.concat([Buffer.from(`{"type":"${type}","object":`), object, lineEnd])
}

const lineEnd = Buffer.from('}\n')
