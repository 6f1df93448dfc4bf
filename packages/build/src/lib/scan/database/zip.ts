import { fstatSync, readSync } from 'node:fs'
import { inflateRawSync } from 'node:zlib'

/** Bounds for archives from elsewhere; the defaults take every set of advisories that is published. */
export interface ZipLimits {
  /** Default 4,000,000. */
  maxEntries?: number | undefined
  /** Bytes of one entry once unpacked; larger ones are refused. Default 32 MiB. */
  maxEntryBytes?: number | undefined
  /** Bytes of all entries once unpacked; default 64 GiB. */
  maxTotalBytes?: number | undefined
}

/** One file of an archive. */
export interface ZipEntry {
  name: string
  /** The content, unpacked and checked for its length. */
  read(): Buffer
}

/** Thrown for an archive that cannot be used; whoever knows the file's name makes the message. */
export class ZipError extends Error {}

const END = 0x06054b50
const END64_LOCATOR = 0x07064b50
const END64 = 0x06064b50
const CENTRAL = 0x02014b50
const LOCAL = 0x04034b50

/**
 * Reads the files of a zip archive (APPNOTE 6.3, with zip64) one after another out of an open file, with memory for one
 * entry. Stored and deflated entries are known; what unpacks to more than announced or allowed is a {@link ZipError}.
 */
export function* readZip(file: number, limits: ZipLimits = {}): Generator<ZipEntry> {
  const { maxEntries = 4_000_000, maxEntryBytes = 32 << 20, maxTotalBytes = 2 ** 36 } = limits
  const sizeBytes = fstatSync(file).size
  const directory = findDirectory(file, sizeBytes)
  if (directory.count > maxEntries) throw new ZipError(`it has more than ${maxEntries} entries`)
  const records = new Window(file, sizeBytes)
  const contents = new Window(file, sizeBytes)
  let at = directory.offset
  let totalBytes = 0
  for (let index = 0; index < directory.count; index += 1) {
    const record = readRecord(records, at)
    at += record.lengthBytes
    totalBytes += record.unpackedBytes
    if (totalBytes > maxTotalBytes) throw new ZipError(`it unpacks to more than ${maxTotalBytes} bytes`)
    if (record.name.endsWith('/')) continue
    if (record.unpackedBytes > maxEntryBytes) {
      throw new ZipError(`entry "${record.name}" unpacks to more than ${maxEntryBytes} bytes`)
    }
    yield { name: record.name, read: () => readContent(contents, record) }
  }
}

interface Record {
  name: string
  method: number
  packedBytes: number
  unpackedBytes: number
  offset: number
  lengthBytes: number
}

function findDirectory(file: number, sizeBytes: number): { count: number; offset: number } {
  const tailBytes = Math.min(sizeBytes, 22 + 0xffff)
  const tail = Buffer.alloc(tailBytes)
  readSync(file, tail, 0, tailBytes, sizeBytes - tailBytes)
  for (let at = tailBytes - 22; at >= 0; at -= 1) {
    if (tail.readUInt32LE(at) !== END) continue
    const count = tail.readUInt16LE(at + 10)
    const offset = tail.readUInt32LE(at + 16)
    const locator = at - 20
    const is64 = locator >= 0 && tail.readUInt32LE(locator) === END64_LOCATOR
    return is64 ? readEnd64(file, number64(tail, locator + 8), sizeBytes) : { count, offset }
  }
  throw new ZipError('it is no zip archive, or its end is missing')
}

function readEnd64(file: number, offset: number, sizeBytes: number): { count: number; offset: number } {
  const end = new Window(file, sizeBytes).at(offset, 56)
  if (end.readUInt32LE(0) !== END64) throw new ZipError('its zip64 directory is damaged')
  return { count: number64(end, 32), offset: number64(end, 48) }
}

function readRecord(window: Window, at: number): Record {
  const fixed = window.at(at, 46)
  if (fixed.readUInt32LE(0) !== CENTRAL) throw new ZipError('its directory is damaged')
  const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((offset) => fixed.readUInt16LE(offset)) as [
    number,
    number,
    number,
  ]
  const sizes = [24, 20, 42].map((offset) => fixed.readUInt32LE(offset))
  const method = fixed.readUInt16LE(10)
  // From here on `fixed` may hold other bytes: the window moves.
  const rest = window.at(at + 46, nameBytes + extraBytes)
  const [unpackedBytes = 0, packedBytes = 0, offset = 0] = widen(sizes, rest.subarray(nameBytes))
  return {
    name: rest.toString('utf8', 0, nameBytes),
    method,
    packedBytes,
    unpackedBytes,
    offset,
    lengthBytes: 46 + nameBytes + extraBytes + commentBytes,
  }
}

/** Sizes that do not fit into 32 bits stand, in this order, in the zip64 field (APPNOTE 4.5.3). */
function widen(sizes: readonly number[], extra: Buffer): number[] {
  if (!sizes.includes(0xffffffff)) return [...sizes]
  for (let at = 0; at + 4 <= extra.byteLength; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue
    let next = at + 4
    return sizes.map((size) => {
      if (size !== 0xffffffff) return size
      if (next + 8 > extra.byteLength) throw new ZipError('a zip64 field is damaged')
      next += 8
      return number64(extra, next - 8)
    })
  }
  throw new ZipError('a zip64 field is missing')
}

function readContent(window: Window, record: Record): Buffer {
  const local = window.at(record.offset, 30)
  if (local.readUInt32LE(0) !== LOCAL) throw new ZipError(`entry "${record.name}" is damaged`)
  const start = record.offset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28)
  const packed = window.at(start, record.packedBytes)
  const content = unpack(packed, record)
  if (content.byteLength !== record.unpackedBytes) throw new ZipError(`entry "${record.name}" has another length`)
  return content
}

function unpack(packed: Buffer, { method, name, unpackedBytes }: Record): Buffer {
  if (method === 0) return packed
  if (method !== 8) throw new ZipError(`entry "${name}" is packed by the unknown method ${method}`)
  try {
    // The announced size is within the limit; what would become larger stops here.
    return inflateRawSync(packed, { maxOutputLength: Math.max(1, unpackedBytes) })
  } catch (error) {
    throw new ZipError(`entry "${name}" is damaged, or larger than it announces`, { cause: error })
  }
}

function number64(bytes: Buffer, at: number): number {
  const value = Number(bytes.readBigUInt64LE(at))
  if (!Number.isSafeInteger(value)) throw new ZipError('a size is out of range')
  return value
}

const WINDOW_BYTES = 1 << 20
const MAX_READ_BYTES = 64 << 20

/** A part of a file in memory, moved when something beyond it is asked for: entries mostly lie one behind another. */
class Window {
  readonly #file: number
  readonly #sizeBytes: number
  #bytes = Buffer.alloc(0)
  #start = 0

  constructor(file: number, sizeBytes: number) {
    this.#file = file
    this.#sizeBytes = sizeBytes
  }

  /** Valid until the next call. */
  at(offset: number, lengthBytes: number): Buffer {
    if (offset < 0 || offset + lengthBytes > this.#sizeBytes) throw new ZipError('it ends too early')
    if (lengthBytes > MAX_READ_BYTES) throw new ZipError('an entry is too large')
    const isInside = offset >= this.#start && offset + lengthBytes <= this.#start + this.#bytes.byteLength
    if (!isInside) this.#move(offset, Math.max(lengthBytes, WINDOW_BYTES))
    return this.#bytes.subarray(offset - this.#start, offset - this.#start + lengthBytes)
  }

  #move(offset: number, lengthBytes: number): void {
    const wanted = Math.min(lengthBytes, this.#sizeBytes - offset)
    if (this.#bytes.byteLength !== wanted) this.#bytes = Buffer.alloc(wanted)
    this.#start = offset
    let done = 0
    while (done < wanted) {
      const read = readSync(this.#file, this.#bytes, done, wanted - done, offset + done)
      if (read === 0) throw new ZipError('it ends too early')
      done += read
    }
  }
}
