import { openSync } from 'node:fs'
import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { storageCorrupt } from '../errors.ts'
import { disk } from './disk.ts'
import type { LogPosition } from './log.ts'
import { decodeRecords } from './record.ts'
import type { LogRecord } from './record.ts'
import { decodeSegmentHeader, segmentHeaderBytes, segmentName, sequenceOf } from './segment.ts'
import { loadSnapshot } from './snapshot.ts'

/** What a data directory held when it was opened. */
export interface Recovered {
  /** The objects of the newest snapshot. */
  readonly base: readonly LogRecord[]
  readonly baseRevision: number
  /** The changes since, in order. */
  readonly changes: readonly LogRecord[]
  /** Where to go on; undefined when there is no segment yet. */
  readonly position: LogPosition | undefined
  /** Sequence numbers and sizes of all segments, oldest first. */
  readonly segments: readonly { sequence: number; bytes: number }[]
}

interface Segment {
  readonly sequence: number
  readonly path: string
  readonly bytes: Buffer
  readonly previousEnd: number
}

/**
 * Reads `dir` back. Only the last segment may end in a torn write: nothing there was acknowledged, so it is wiped.
 * Damage anywhere else throws `FAIRLEAD_CLUSTER_STORAGE_CORRUPT`, because acknowledged writes would be missing.
 */
export async function recover(dir: string): Promise<Recovered> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  await removeTemporary(dir)
  const snapshot = await loadSnapshot(dir)
  const segments = await loadSegments(dir, snapshot?.firstSegment ?? 1)
  const baseRevision = snapshot?.revision ?? 0
  const changes: LogRecord[] = []
  let end = 0
  for (const [index, segment] of segments.entries()) {
    const limit = segments[index + 1]?.previousEnd
    end = readSegment(segment, limit, (record) => {
      if (record.revision > baseRevision) changes.push(record)
    })
  }
  const last = segments.at(-1)
  return {
    base: snapshot?.records ?? [],
    baseRevision,
    // Superseded versions would keep whole segments in memory: what stays is copied out of them.
    changes: changes.map((record) => ({ ...record, bytes: Buffer.from(record.bytes) })),
    position: last === undefined ? undefined : await continueSegment(last, end),
    segments: segments.map(({ sequence, bytes }) => ({ sequence, bytes: bytes.length })),
  }
}

async function removeTemporary(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    // The lock's own temporary files belong to processes that may be starting right now.
    if (name.endsWith('.tmp') && !name.startsWith('lock')) await rm(join(dir, name), { force: true })
  }
}

async function loadSegments(dir: string, first: number): Promise<Segment[]> {
  const sequences = (await readdir(dir)).map(sequenceOf).filter((sequence) => sequence !== undefined)
  const segments: Segment[] = []
  for (const sequence of sequences.toSorted((a, b) => a - b)) {
    const path = join(dir, segmentName(sequence))
    if (sequence < first) {
      await rm(path, { force: true })
      continue
    }
    const expected = (segments.at(-1)?.sequence ?? first - 1) + 1
    if (sequence !== expected) throw storageCorrupt(join(dir, segmentName(expected)), 'the segment is missing')
    segments.push(await loadSegment(path, sequence))
  }
  if (segments.length === 0 && first > 1) throw storageCorrupt(join(dir, segmentName(first)), 'the segment is missing')
  return segments
}

async function loadSegment(path: string, sequence: number): Promise<Segment> {
  const bytes = await readFile(path)
  const header = decodeSegmentHeader(bytes)
  if (header === undefined || header.sequence !== sequence) throw storageCorrupt(path, 'its header is damaged')
  return { sequence, path, bytes, previousEnd: header.previousEnd }
}

/** Visits the records up to `limit` (the end that the next segment states) and returns where they end. */
function readSegment(segment: Segment, limit: number | undefined, visit: (record: LogRecord) => void): number {
  const bytes = limit === undefined ? segment.bytes : segment.bytes.subarray(0, limit)
  const end = decodeRecords(bytes, segmentHeaderBytes, visit)
  if (limit !== undefined && end !== limit) {
    throw storageCorrupt(segment.path, `the record at byte ${end} is damaged`)
  }
  return end
}

/** Wipes what follows the last whole record, so that it can never be taken for one later, and opens for writing. */
async function continueSegment(segment: Segment, end: number): Promise<LogPosition> {
  const fd = openSync(segment.path, 'r+')
  const rest = segment.bytes.subarray(end)
  if (!rest.equals(Buffer.alloc(rest.length))) {
    await disk.write(fd, Buffer.alloc(rest.length), end)
    await disk.sync(fd)
  }
  return { fd, sequence: segment.sequence, end, size: segment.bytes.length }
}
