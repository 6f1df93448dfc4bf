import type { Status } from '../types/generated/meta-v1.ts'
import { watchSyntax } from './errors.ts'
import { KubeError } from './kube-error.ts'
import { splitLines } from './lines.ts'

/** One change of a watched collection. A `BOOKMARK` carries only `metadata.resourceVersion` (and annotations). */
export interface WatchEvent<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'
  readonly object: T
}

/**
 * Parses the body of a watch: one JSON event per line. An `ERROR` event is thrown as {@link KubeError}; a line over
 * 16 MiB or not an event throws FAIRLEAD_KUBE_WATCH. A last line without its newline is a cut connection and is dropped.
 */
export async function* parseWatch<T>(body: AsyncIterable<Uint8Array>): AsyncGenerator<WatchEvent<T>, void, undefined> {
  for await (const line of splitLines(body)) {
    if (line.trim() !== '') {
      yield parseEvent<T>(line)
    }
  }
}

function parseEvent<T>(line: string): WatchEvent<T> {
  const event = parseLine(line)
  switch (event.type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
    case 'BOOKMARK':
      // The server promised this kind by answering on its path.
      return { type: event.type, object: event.object as T }
    case 'ERROR': {
      const status = event.object as Status
      throw new KubeError(status, status.code ?? 500)
    }
    default:
      throw watchSyntax(`event type is "${String(event.type)}"`)
  }
}

function parseLine(line: string): { type?: unknown; object: object } {
  let event: unknown
  try {
    event = JSON.parse(line)
  } catch (cause) {
    throw watchSyntax('line is no JSON', cause)
  }
  if (typeof event !== 'object' || event === null || !('object' in event)) {
    throw watchSyntax('line is no event')
  }
  const { object } = event
  if (typeof object !== 'object' || object === null) {
    throw watchSyntax('event has no object')
  }
  return { ...event, object }
}
