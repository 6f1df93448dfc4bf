import { crc32 } from 'node:zlib'

/** Bytes at the start of every segment before its first record. */
export const segmentHeaderBytes = 32

export interface SegmentHeader {
  readonly sequence: number
  /**
   * Where the valid part of the segment before this one ends. A write that failed leaves bytes behind this point that
   * were never acknowledged; saying so here keeps them out of every later replay.
   */
  readonly previousEnd: number
}

const magic = Buffer.from('FLRLOG01')

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(segmentHeaderBytes)
  magic.copy(bytes)
  bytes.writeUIntBE(header.sequence, 8, 6)
  bytes.writeUIntBE(header.previousEnd, 14, 6)
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 20)), 20)
  return bytes
}

export function decodeSegmentHeader(bytes: Buffer): SegmentHeader | undefined {
  if (bytes.length < segmentHeaderBytes || !bytes.subarray(0, magic.length).equals(magic)) return undefined
  if (crc32(bytes.subarray(0, 20)) !== bytes.readUInt32BE(20)) return undefined
  return { sequence: bytes.readUIntBE(8, 6), previousEnd: bytes.readUIntBE(14, 6) }
}

export function segmentName(sequence: number): string {
  return `log-${String(sequence).padStart(12, '0')}`
}

/** The sequence number in a segment's file name, or undefined for another file. */
export function sequenceOf(name: string): number | undefined {
  const found = /^log-(\d{12})$/.exec(name)
  return found === null ? undefined : Number(found[1])
}
