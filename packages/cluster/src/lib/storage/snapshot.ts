import { createHash, randomUUID } from 'node:crypto'
import { open, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { storageCorrupt } from '../errors.ts'
import { syncDirectory } from './disk.ts'
import { encodeRecord } from './record.ts'
import type { LogRecord } from './record.ts'
import { RecordReader } from './record-reader.ts'

/** The state of the whole store at one revision. */
export interface Snapshot {
  readonly revision: number
  /** Segments before this one hold nothing the snapshot does not. */
  readonly firstSegment: number
  readonly records: readonly LogRecord[]
}

/** Told of the objects of a snapshot. */
export interface SnapshotTarget {
  startAt(revision: number): void
  load(record: LogRecord): void
}

/** What the beginning of a snapshot says of it. */
export interface SnapshotHeader {
  readonly revision: number
  readonly firstSegment: number
  readonly objects: number
}

const magic = Buffer.from('FLRSNP01')
const headerBytes = 32
const trailerBytes = 32
const chunkBytes = 1 << 20

/** Writes the snapshot beside its final name and renames it when it is whole and durable. */
export async function writeSnapshot(dir: string, snapshot: Snapshot): Promise<void> {
  const temporary = join(dir, `snapshot-${randomUUID()}.tmp`)
  const file = await open(temporary, 'wx', 0o600)
  try {
    for (const chunk of encodeSnapshot(snapshot)) await file.writeFile(chunk)
    await file.datasync()
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  } finally {
    await file.close()
  }
  await rename(temporary, join(dir, snapshotName(snapshot.revision)))
  syncDirectory(dir)
}

/** Hands the newest snapshot of `dir` on to `target`; undefined when there is none. */
export async function loadSnapshot(dir: string, target: SnapshotTarget): Promise<SnapshotHeader | undefined> {
  const newest = (await snapshotRevisions(dir)).at(-1)
  return newest === undefined ? undefined : readSnapshot(join(dir, snapshotName(newest)), target)
}

/**
 * Hands a snapshot on to `target`. Each record carries its own checksum; the digest at the end is for copies that
 * travelled ({@link verifyDigest}), reading it would double the start time.
 */
export function readSnapshot(path: string, target: SnapshotTarget): SnapshotHeader {
  using reader = new RecordReader(path)
  const header = decodeHeader(path, reader)
  target.startAt(header.revision)
  let objects = 0
  const content = reader.size - trailerBytes
  const end = reader.visit(headerBytes, content, (record) => {
    objects += 1
    target.load(record)
  })
  if (end !== content || objects !== header.objects) {
    throw storageCorrupt(path, `it holds ${objects} whole records, expected ${header.objects}`)
  }
  return header
}

/** Reads the whole file and compares it with the digest at its end; returns what it says of itself. */
export function verifyDigest(path: string): SnapshotHeader {
  using reader = new RecordReader(path)
  const header = decodeHeader(path, reader)
  const hash = createHash('sha256')
  const content = reader.size - trailerBytes
  for (let at = 0; at < content; at += chunkBytes) hash.update(reader.read(at, Math.min(content, at + chunkBytes)))
  if (!hash.digest().equals(reader.read(content, reader.size))) {
    throw storageCorrupt(path, 'its content does not match the digest at its end')
  }
  return header
}

/** Removes every snapshot but the one at `revision`. */
export async function removeOtherSnapshots(dir: string, revision: number): Promise<void> {
  for (const other of await snapshotRevisions(dir)) {
    if (other !== revision) await rm(join(dir, snapshotName(other)), { force: true })
  }
}

/** The bytes of the file, about a megabyte at a time. */
export function* encodeSnapshot(snapshot: Snapshot): Generator<Buffer> {
  const hash = createHash('sha256')
  let chunk = [encodeHeader(snapshot)]
  let size = headerBytes
  for (const record of snapshot.records) {
    const frame = encodeRecord(record)
    chunk.push(frame)
    size += frame.length
    if (size < chunkBytes) continue
    const bytes = Buffer.concat(chunk)
    hash.update(bytes)
    yield bytes
    chunk = []
    size = 0
  }
  const last = Buffer.concat(chunk)
  yield Buffer.concat([last, hash.update(last).digest()])
}

function encodeHeader({ revision, firstSegment, records }: Snapshot): Buffer {
  const header = Buffer.alloc(headerBytes)
  magic.copy(header)
  header.writeUIntBE(revision, 8, 6)
  header.writeUIntBE(firstSegment, 14, 6)
  header.writeUIntBE(records.length, 20, 6)
  return header
}

function decodeHeader(path: string, reader: RecordReader): SnapshotHeader {
  const bytes = reader.read(0, headerBytes)
  if (reader.size < headerBytes + trailerBytes || !bytes.subarray(0, magic.length).equals(magic)) {
    throw storageCorrupt(path, 'it does not begin like a snapshot')
  }
  return {
    revision: bytes.readUIntBE(8, 6),
    firstSegment: bytes.readUIntBE(14, 6),
    objects: bytes.readUIntBE(20, 6),
  }
}

function snapshotName(revision: number): string {
  return `snapshot-${String(revision).padStart(15, '0')}`
}

async function snapshotRevisions(dir: string): Promise<number[]> {
  const revisions: number[] = []
  for (const name of await readdir(dir)) {
    const found = /^snapshot-(\d{15})$/.exec(name)
    if (found !== null) revisions.push(Number(found[1]))
  }
  return revisions.toSorted((a, b) => a - b)
}
