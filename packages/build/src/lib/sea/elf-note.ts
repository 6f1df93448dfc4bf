import { elfInvalid } from '../errors.ts'
import { isElf } from '../native/elf.ts'

const PT_LOAD = 1
const PT_NOTE = 4
const PT_PHDR = 6
const PF_R = 4
const HEADER_BYTES = 64
const ENTRY_BYTES = 56
const PAGE = 0x1_0000

/** Where a note goes and what has to be written for it; the payload follows at `payloadAt`. */
export interface NotePlan {
  /** In place of the first 64 bytes. */
  header: Buffer
  /** Where the file is to go on: behind its end, at the start of a page. */
  segmentAt: number
  /** Program headers and head of the note, to be written there. */
  segment: Buffer
  payloadAt: number
  /** Size of the finished file. */
  sizeBytes: number
}

/**
 * Adds a note to a program, by a segment of its own behind all others: Node.js looks for its single-executable blob among the
 * notes that the dynamic linker knows of (`dl_iterate_phdr`). There is no room for two more program headers where they are, so
 * the whole table moves into the new segment. Linux before 5.18 takes it that file offsets and addresses of the table differ
 * as those of the first segment do, so the new one is put where that is so. `head` is the beginning of the file, up to the end
 * of its program headers. Source: gABI, "Program Header" and "Note Section".
 */
export function planNote(head: Buffer, fileBytes: number, note: { name: string; payloadBytes: number }): NotePlan {
  if (!isElf(head) || head[4] !== 2 || head[5] !== 1) throw elfInvalid('it is not a 64-bit little-endian file')
  const tableAt = Number(head.readBigUInt64LE(32))
  const count = head.readUInt16LE(56)
  const table = head.subarray(tableAt, tableAt + count * ENTRY_BYTES)
  if (head.readUInt16LE(54) !== ENTRY_BYTES || table.byteLength !== count * ENTRY_BYTES)
    throw elfInvalid('it ends too early')
  const loads = entriesOf(table).filter((entry) => entry.readUInt32LE(0) === PT_LOAD)
  const first = loads[0]
  if (!first) throw elfInvalid('it has no segment to load')
  const distance = Number(first.readBigUInt64LE(16)) - Number(first.readBigUInt64LE(8))
  const usedTo = Math.max(...loads.map((entry) => Number(entry.readBigUInt64LE(16) + entry.readBigUInt64LE(40))))
  const segmentAt = roundUp(Math.max(fileBytes, usedTo - distance), PAGE)
  const tableBytes = (count + 2) * ENTRY_BYTES
  const noteHead = renderNoteHead(note)
  const sizeBytes = segmentAt + tableBytes + noteHead.byteLength + roundUp(note.payloadBytes, 4)
  const place = { at: segmentAt, distance }
  const segment = Buffer.concat([
    renderTable(table, place, [
      { type: PT_LOAD, from: 0, bytes: sizeBytes - segmentAt, align: PAGE },
      { type: PT_NOTE, from: tableBytes, bytes: sizeBytes - segmentAt - tableBytes, align: 4 },
    ]),
    noteHead,
  ])
  const header = Buffer.from(head.subarray(0, HEADER_BYTES))
  header.writeBigUInt64LE(BigInt(segmentAt), 32)
  header.writeUInt16LE(count + 2, 56)
  return { header, segmentAt, segment, payloadAt: segmentAt + segment.byteLength, sizeBytes }
}

interface NewEntry {
  type: number
  /** Offset within the new segment. */
  from: number
  bytes: number
  align: number
}

interface Place {
  at: number
  /** What an address is more than the offset in the file. */
  distance: number
}

/** The table as it was, the place it tells of itself put right, with the new entries; segments stay in order of addresses. */
function renderTable(table: Buffer, place: Place, added: readonly NewEntry[]): Buffer {
  const entries = entriesOf(table).map((entry) => Buffer.from(entry))
  const bytes = (entries.length + added.length) * ENTRY_BYTES
  const own = entries.find((entry) => entry.readUInt32LE(0) === PT_PHDR)
  if (own) renderEntry({ type: PT_PHDR, from: 0, bytes, align: 8 }, place).copy(own)
  const [load, note] = added.map((entry) => renderEntry(entry, place))
  if (!load || !note) throw new RangeError('Cannot render program headers: expected two new ones')
  const last = entries.findLastIndex((entry) => entry.readUInt32LE(0) === PT_LOAD)
  return Buffer.concat([...entries.slice(0, last + 1), load, ...entries.slice(last + 1), note])
}

function renderEntry({ type, from, bytes, align }: NewEntry, { at, distance }: Place): Buffer {
  const entry = Buffer.alloc(ENTRY_BYTES)
  const address = BigInt(at + from + distance)
  entry.writeUInt32LE(type, 0)
  entry.writeUInt32LE(PF_R, 4)
  entry.writeBigUInt64LE(BigInt(at + from), 8)
  entry.writeBigUInt64LE(address, 16)
  entry.writeBigUInt64LE(address, 24)
  entry.writeBigUInt64LE(BigInt(bytes), 32)
  entry.writeBigUInt64LE(BigInt(bytes), 40)
  entry.writeBigUInt64LE(BigInt(align), 48)
  return entry
}

function renderNoteHead({ name, payloadBytes }: { name: string; payloadBytes: number }): Buffer {
  const text = Buffer.from(`${name}\0`)
  const head = Buffer.alloc(12 + roundUp(text.byteLength, 4))
  head.writeUInt32LE(text.byteLength, 0)
  head.writeUInt32LE(payloadBytes, 4)
  text.copy(head, 12)
  return head
}

function entriesOf(table: Buffer): Buffer[] {
  return Array.from({ length: table.byteLength / ENTRY_BYTES }, (_, index) =>
    table.subarray(index * ENTRY_BYTES, (index + 1) * ENTRY_BYTES),
  )
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step
}
