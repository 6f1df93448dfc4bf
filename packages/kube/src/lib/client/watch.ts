import type { Status } from '../types/generated/meta-v1.ts'
import { watchSyntax } from './errors.ts'
import { KubeError } from './kube-error.ts'

/** One change of a watched collection. A `BOOKMARK` carries only `metadata.resourceVersion` (and annotations). */
export interface WatchEvent<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'
  readonly object: T
}

/** The longest line accepted. Stored objects stay below 1.5 MiB upstream; JSON escapes may multiply that. */
const maxLineBytes = 16 * 1024 * 1024

/**
 * Parses the body of a watch: one JSON event per line. An `ERROR` event is thrown as {@link KubeError}; a line over
 * 16 MiB or not an event throws FAIRLEAD_KUBE_WATCH. A last line without its newline is a cut connection and is dropped.
 */
export async function* parseWatch<T>(body: AsyncIterable<Uint8Array>): AsyncGenerator<WatchEvent<T>, void, undefined> {
  for await (const line of splitLines(body)) {
    yield parseEvent<T>(line)
  }
}

async function* splitLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  let pending: Buffer[] = []
  let pendingBytes = 0
  for await (const chunk of body) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    let start = 0
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
      pending.push(bytes.subarray(start, end))
      start = end + 1
      const line = (pending.length === 1 ? (pending[0] ?? bytes) : Buffer.concat(pending)).toString('utf8')
      pending = []
      pendingBytes = 0
      if (line.trim() !== '') {
        yield line
      }
    }
    if (start < bytes.length) {
      pendingBytes += bytes.length - start
      if (pendingBytes > maxLineBytes) {
        throw watchSyntax(`line is longer than ${maxLineBytes} bytes`)
      }
      pending.push(bytes.subarray(start))
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
