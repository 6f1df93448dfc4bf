import { openSync } from 'node:fs'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { storageCorrupt } from '../errors.ts'
import { disk } from './disk.ts'
import type { LogPosition } from './log.ts'
import { findBatch } from './record.ts'
import type { LogRecord } from './record.ts'
import { RecordReader } from './record-reader.ts'
import { decodeSegmentHeader, segmentHeaderBytes, segmentName, sequenceOf } from './segment.ts'
import { loadSnapshot } from './snapshot.ts'

/** Who is told, in order, what a data directory holds. */
export interface RecoveryTarget {
  /** The newest snapshot is of this revision; 0 without one. Its objects follow. */
  startAt(revision: number): void
  load(record: LogRecord): void
  /** The changes since. */
  replay(record: LogRecord): void
}

/** Where a data directory goes on. */
export interface Recovered {
  /** Where the next record goes; undefined when there is no segment yet. */
  readonly position: LogPosition | undefined
  /** Sequence numbers and sizes of all segments, oldest first. */
  readonly segments: readonly { sequence: number; bytes: number }[]
}

interface Segment {
  readonly sequence: number
  readonly path: string
  readonly bytes: number
  readonly previousEnd: number
}

/**
 * Reads `dir` back. Only the last segment may end in a torn write: nothing there was acknowledged, so it is wiped.
 * Damage anywhere else throws `FAIRLEAD_CLUSTER_STORAGE_CORRUPT`, because acknowledged writes would be missing.
 */
export async function recover(dir: string, target: RecoveryTarget): Promise<Recovered> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  await removeTemporary(dir)
  const snapshot = await loadSnapshot(dir, target)
  const segments = await findSegments(dir, snapshot?.firstSegment ?? 1)
  const baseRevision = snapshot?.revision ?? 0
  let position: LogPosition | undefined
  let newest = baseRevision
  for (const [index, segment] of segments.entries()) {
    using reader = new RecordReader(segment.path)
    const limit = segments[index + 1]?.previousEnd
    const end = reader.visit(segmentHeaderBytes, limit ?? Infinity, (record) => {
      newest = Math.max(newest, record.revision)
      if (record.revision > baseRevision) target.replay(record)
    })
    if (limit === undefined) position = await continueSegment(segment, reader, end, newest)
    else if (end !== limit) throw storageCorrupt(segment.path, `the record at byte ${end} is damaged`)
  }
  return { position, segments: segments.map(({ sequence, bytes }) => ({ sequence, bytes })) }
}

async function removeTemporary(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    // The lock's own temporary files belong to processes that may be starting right now.
    if (name.endsWith('.tmp') && !name.startsWith('lock')) await rm(join(dir, name), { force: true })
  }
}

async function findSegments(dir: string, first: number): Promise<Segment[]> {
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
    segments.push(readHeader(path, sequence))
  }
  if (segments.length === 0 && first > 1) throw storageCorrupt(join(dir, segmentName(first)), 'the segment is missing')
  return segments
}

function readHeader(path: string, sequence: number): Segment {
  using reader = new RecordReader(path)
  const header = decodeSegmentHeader(reader.read(0, segmentHeaderBytes))
  if (header === undefined || header.sequence !== sequence) throw storageCorrupt(path, 'its header is damaged')
  return { sequence, path, bytes: reader.size, previousEnd: header.previousEnd }
}

/** Wipes what follows the last whole record, so that it can never be taken for one later, and opens for writing. */
async function continueSegment(
  segment: Segment,
  reader: RecordReader,
  end: number,
  newest: number,
): Promise<LogPosition> {
  const rest = reader.isEmptyFrom(end) ? undefined : reader.read(end, Infinity)
  if (rest !== undefined && findBatch(rest, newest) !== undefined) {
    throw storageCorrupt(segment.path, `the record at byte ${end} is damaged, and acknowledged writes follow it`)
  }
  const fd = openSync(segment.path, 'r+')
  if (rest !== undefined) await disk.write(fd, Buffer.alloc(rest.length), end)
  // What was read may still be on its way to the disk: a process that was killed wrote it, and did not wait for it.
  await disk.sync(fd)
  return { fd, sequence: segment.sequence, end, size: segment.bytes }
}
