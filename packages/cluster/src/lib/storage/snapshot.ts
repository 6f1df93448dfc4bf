import { createHash, randomUUID } from 'node:crypto'
import { open, readdir, readFile, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'

import { storageCorrupt } from '../errors.ts'
import { syncDirectory } from './disk.ts'
import { decodeRecords, encodeRecord } from './record.ts'
import type { LogRecord } from './record.ts'

/** The state of the whole store at one revision. */
export interface Snapshot {
  readonly revision: number
  /** Segments before this one hold nothing the snapshot does not. */
  readonly firstSegment: number
  readonly records: readonly LogRecord[]
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
    await writeContent(file, snapshot)
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

/** The newest snapshot of `dir`; undefined when there is none. */
export async function loadSnapshot(dir: string): Promise<Snapshot | undefined> {
  const newest = (await snapshotRevisions(dir)).at(-1)
  if (newest === undefined) return undefined
  const path = join(dir, snapshotName(newest))
  return decodeSnapshot(path, await readFile(path))
}

/** Removes every snapshot but the one at `revision`. */
export async function removeOtherSnapshots(dir: string, revision: number): Promise<void> {
  for (const other of await snapshotRevisions(dir)) {
    if (other !== revision) await rm(join(dir, snapshotName(other)), { force: true })
  }
}

async function writeContent(file: FileHandle, snapshot: Snapshot): Promise<void> {
  const header = Buffer.alloc(headerBytes)
  magic.copy(header)
  header.writeUIntBE(snapshot.revision, 8, 6)
  header.writeUIntBE(snapshot.firstSegment, 14, 6)
  header.writeUIntBE(snapshot.records.length, 20, 6)
  const hash = createHash('sha256')
  let chunk: Buffer[] = [header]
  let size = headerBytes
  async function flush(): Promise<void> {
    const bytes = Buffer.concat(chunk)
    hash.update(bytes)
    chunk = []
    size = 0
    await file.writeFile(bytes)
  }
  for (const record of snapshot.records) {
    const frame = encodeRecord(record)
    chunk.push(frame)
    size += frame.length
    if (size >= chunkBytes) await flush()
  }
  await flush()
  await file.writeFile(hash.digest())
}

function decodeSnapshot(path: string, bytes: Buffer): Snapshot {
  if (bytes.length < headerBytes + trailerBytes || !bytes.subarray(0, magic.length).equals(magic)) {
    throw storageCorrupt(path, 'it does not begin like a snapshot')
  }
  const records: LogRecord[] = []
  const content = bytes.subarray(0, bytes.length - trailerBytes)
  // Each record carries its own checksum; the digest at the end is for tools, reading it would double the start time.
  const end = decodeRecords(content, headerBytes, (record) => records.push(record))
  const expected = bytes.readUIntBE(20, 6)
  if (end !== content.length || records.length !== expected) {
    throw storageCorrupt(path, `it holds ${records.length} whole records, expected ${expected}`)
  }
  return { revision: bytes.readUIntBE(8, 6), firstSegment: bytes.readUIntBE(14, 6), records }
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
