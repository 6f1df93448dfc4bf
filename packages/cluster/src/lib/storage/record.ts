import { crc32 } from 'node:zlib'

/** One change of one object, as the log and the snapshot hold it. */
export interface LogRecord {
  readonly revision: number
  readonly operation: Operation
  readonly key: string
  /** The object as stored; for a deletion its last state, which watchers are told. */
  readonly bytes: Buffer
}

export type Operation = 'put' | 'delete'

// Frame: length of the payload (4), CRC-32 of the payload (4), payload.
// The highest bit of the length is set in the first record of a batch: everything before it was on disk when it was written.
// Payload: operation (1), revision (6), length of the key (2), key, object. A length of zero ends a segment.
const frameBytes = 8
const fixedBytes = 9
const batchBit = 0x8000_0000

/** The framed bytes of one record. */
export function encodeRecord({ operation, revision, key, bytes }: LogRecord): Buffer {
  const record = { operation, revision, key, bytes }
  const frame = Buffer.allocUnsafe(sizeOf(record))
  writeRecord(record, frame, 0)
  return frame
}

/** Bytes of the frame of a record. */
export function sizeOf({ key, bytes }: LogRecord): number {
  return frameBytes + fixedBytes + Buffer.byteLength(key) + bytes.length
}

/** Writes the frame of a record at `at`; returns where it ends. */
export function writeRecord({ operation, revision, key, bytes }: LogRecord, into: Buffer, at: number): number {
  const start = at + frameBytes
  const keyStart = start + fixedBytes
  const keyBytes = into.write(key, keyStart, 'utf8')
  const end = keyStart + keyBytes + bytes.length
  into.writeUInt8(operation === 'put' ? 1 : 2, start)
  into.writeUIntBE(revision, start + 1, 6)
  into.writeUInt16BE(keyBytes, start + 7)
  bytes.copy(into, keyStart + keyBytes)
  into.writeUInt32BE(end - start, at)
  into.writeUInt32BE(crc32(into.subarray(start, end)), at + 4)
  return end
}

/** Marks the first record of `batch` as one that is written only after all before it is on disk. */
export function markBatch(batch: Buffer): void {
  batch.writeUInt32BE((batch.readUInt32BE(0) | batchBit) >>> 0, 0)
}

/** Bytes of the frame at `at`, if one begins there. */
export function frameLength(buffer: Buffer, at: number): number {
  return frameBytes + lengthAt(buffer, at)
}

/**
 * Where in `buffer` a batch begins whose first record is whole and newer than `revision`; undefined when there is none.
 * Behind damage, that tells acknowledged writes from those that a crash tore: a batch is only written when all before it is on disk.
 */
export function findBatch(buffer: Buffer, revision: number): number | undefined {
  const end = buffer.length - frameBytes - fixedBytes
  for (let at = 0; at <= end; at += 1) {
    if (((buffer[at] ?? 0) & 0x80) === 0) continue
    const length = lengthAt(buffer, at)
    const next = at + frameBytes + length
    if (length < fixedBytes || next > buffer.length || buffer.readUIntBE(at + frameBytes + 1, 6) <= revision) continue
    if (crc32(buffer.subarray(at + frameBytes, next)) === buffer.readUInt32BE(at + 4)) return at
  }
  return undefined
}

/**
 * Hands every whole record of `buffer` from `start` on to `visit` and returns where the first byte stands that is not
 * part of one: the end of the file, zeros, or a torn write. Record bytes are views into `buffer`.
 */
export function decodeRecords(buffer: Buffer, start: number, visit: (record: LogRecord) => void): number {
  let at = start
  while (at + frameBytes <= buffer.length) {
    const length = lengthAt(buffer, at)
    const end = at + frameBytes + length
    if (length < fixedBytes || end > buffer.length) break
    const payload = buffer.subarray(at + frameBytes, end)
    if (crc32(payload) !== buffer.readUInt32BE(at + 4)) break
    visit(decodePayload(payload))
    at = end
  }
  return at
}

function lengthAt(buffer: Buffer, at: number): number {
  return buffer.readUInt32BE(at) & ~batchBit
}

function decodePayload(payload: Buffer): LogRecord {
  const keyEnd = fixedBytes + payload.readUInt16BE(7)
  return {
    operation: payload[0] === 1 ? 'put' : 'delete',
    revision: payload.readUIntBE(1, 6),
    key: payload.toString('utf8', fixedBytes, keyEnd),
    bytes: payload.subarray(keyEnd),
  }
}
