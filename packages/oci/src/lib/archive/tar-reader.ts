import { archiveInvalid, archiveUnsafe } from '../errors.ts'
import { ByteSource } from './byte-source.ts'
import type { TarMember } from './entry.ts'

/** Bounds for archives from elsewhere; the defaults take any image in practical use. */
export interface ReadTarOptions {
  /** Members in one archive; default 1,000,000. */
  maxMembers?: number | undefined
  /** Bytes of content over all members; default 64 GiB. */
  maxTotalBytes?: number | undefined
  /** Bytes `member.bytes()` may gather; default 256 MiB. */
  maxMemberBytes?: number | undefined
}

const BLOCK = 512
const MAX_EXTENDED_HEADER_BYTES = 1 << 20
const MEMBER_TYPES: Record<string, TarMember['type']> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
}

/**
 * Reads a tar archive as a stream: ustar, pax and the GNU extensions for long names and large numbers. One member is
 * current at a time. Paths and hard link targets that would leave the archive's root are refused with
 * `FAIRLEAD_OCI_ARCHIVE_UNSAFE`; symbolic link targets are handed out as they are, so whoever writes members to a disk
 * must not follow them. Damage is `FAIRLEAD_OCI_ARCHIVE`.
 */
export async function* readTar(
  stream: AsyncIterable<Uint8Array>,
  options: ReadTarOptions = {},
): AsyncGenerator<TarMember> {
  const source = new ByteSource(stream)
  const limits = { maxMembers: 1_000_000, maxTotalBytes: 2 ** 36, ...definedOnly(options) }
  let members = 0
  let totalBytes = 0
  try {
    for (;;) {
      const header = await readHeader(source)
      if (!header) break
      members += 1
      totalBytes += header.sizeBytes
      if (members > limits.maxMembers) throw archiveInvalid(`it has more than ${limits.maxMembers} members`)
      if (totalBytes > limits.maxTotalBytes) throw archiveInvalid(`it holds more than ${limits.maxTotalBytes} bytes`)
      const body = new MemberBody(source, header.sizeBytes, options.maxMemberBytes ?? 2 ** 28)
      yield Object.assign(header, { body, bytes: () => body.bytes() })
      await body.finish()
    }
    await source.drain()
  } finally {
    await source.close()
  }
}

function definedOnly<T extends object>(options: T): Partial<{ [K in keyof T]: NonNullable<T[K]> }> {
  const defined = Object.entries(options).filter(([, value]) => value !== undefined)
  return Object.fromEntries(defined) as Partial<{ [K in keyof T]: NonNullable<T[K]> }>
}

class MemberBody implements AsyncIterable<Uint8Array> {
  readonly #source: ByteSource
  readonly #sizeBytes: number
  readonly #maxBytes: number
  #left: number

  constructor(source: ByteSource, sizeBytes: number, maxBytes: number) {
    this.#source = source
    this.#sizeBytes = sizeBytes
    this.#maxBytes = maxBytes
    this.#left = sizeBytes
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    while (this.#left > 0) {
      const chunk = await this.#source.some(this.#left)
      if (!chunk) throw archiveInvalid('it ends in the middle of an entry')
      this.#left -= chunk.byteLength
      yield chunk
    }
  }

  async bytes(): Promise<Buffer> {
    if (this.#sizeBytes > this.#maxBytes) throw archiveInvalid(`a member is larger than ${this.#maxBytes} bytes`)
    const chunks: Uint8Array[] = []
    for await (const chunk of this) chunks.push(chunk)
    return Buffer.concat(chunks)
  }

  async finish(): Promise<void> {
    await this.#source.skip(this.#left)
    this.#left = 0
    // Layers of "umoci insert" end without the padding of their last entry: of its content nothing is missing.
    await this.#source.skipAtMost((BLOCK - (this.#sizeBytes % BLOCK)) % BLOCK)
  }
}

type Header = Omit<TarMember, 'body' | 'bytes'>
type Records = ReadonlyMap<string, Buffer>

/** Gathers the extended headers that stand before a member and applies them; `undefined` at the end of the archive. */
async function readHeader(source: ByteSource): Promise<Header | undefined> {
  const records = new Map<string, Buffer>()
  for (;;) {
    const block = await source.read(BLOCK)
    if (!block || isZero(block)) return undefined
    checkSum(block)
    const typeFlag = String.fromCharCode(block[156] ?? 0)
    const sizeBytes = numberAt(block, 124, 12)
    if (typeFlag === 'x') for (const [key, value] of await readPax(source, sizeBytes)) records.set(key, value)
    else if (typeFlag === 'g') await readPax(source, sizeBytes)
    else if (typeFlag === 'L') records.set('path', withoutNul(await readExtended(source, sizeBytes)))
    else if (typeFlag === 'K') records.set('linkpath', withoutNul(await readExtended(source, sizeBytes)))
    else return toHeader(block, typeFlag, records)
  }
}

function toHeader(block: Buffer, typeFlag: string, records: Records): Header {
  const isUstar = block.toString('latin1', 257, 262) === 'ustar'
  const isGnu = block.toString('latin1', 257, 265) === 'ustar  \0'
  const prefix = isUstar && !isGnu ? textAt(block, 345, 155) : ''
  const name = textAt(block, 0, 100)
  const rawPath = records.get('path')?.toString() ?? (prefix ? `${prefix}/${name}` : name)
  const type = typeOf(typeFlag, rawPath)
  const linkPath = records.get('linkpath')?.toString() ?? textAt(block, 157, 100)
  const sizeBytes = paxNumber(records, 'size') ?? numberAt(block, 124, 12)
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) throw archiveInvalid('a member has no usable size')
  return {
    path: safePath(rawPath),
    type,
    mode: numberAt(block, 100, 8) & 0o7777,
    uid: paxNumber(records, 'uid') ?? numberAt(block, 108, 8),
    gid: paxNumber(records, 'gid') ?? numberAt(block, 116, 8),
    mtimeSeconds: paxNumber(records, 'mtime') ?? numberAt(block, 136, 12),
    sizeBytes: type === 'file' ? sizeBytes : 0,
    linkPath: type === 'hardlink' ? safePath(linkPath) : linkPath,
    deviceMajor: isUstar ? numberAt(block, 329, 8) : 0,
    deviceMinor: isUstar ? numberAt(block, 337, 8) : 0,
    xattrs: xattrsOf(records),
  }
}

function typeOf(typeFlag: string, path: string): TarMember['type'] {
  const type = MEMBER_TYPES[typeFlag]
  if (!type) throw archiveInvalid(`member "${path}" has the unknown type "${typeFlag}"`)
  // Archives older than ustar mark directories by a slash at the end only.
  return type === 'file' && path.endsWith('/') ? 'directory' : type
}

function safePath(path: string): string {
  if (path.includes('\0')) throw archiveUnsafe(path, 'its path holds a NUL character')
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  if (parts.includes('..')) throw archiveUnsafe(path, 'its path leaves the archive')
  return parts.join('/')
}

function xattrsOf(records: Records): Map<string, Uint8Array> {
  const prefix = 'SCHILY.xattr.'
  const found = [...records].filter(([key]) => key.startsWith(prefix))
  return new Map(found.map(([key, value]) => [key.slice(prefix.length), value]))
}

async function readExtended(source: ByteSource, sizeBytes: number): Promise<Buffer> {
  if (sizeBytes > MAX_EXTENDED_HEADER_BYTES || sizeBytes < 0) throw archiveInvalid('an extended header is too large')
  const bytes = await source.read(sizeBytes)
  if (sizeBytes > 0 && !bytes) throw archiveInvalid('it ends in the middle of an entry')
  await source.skip((BLOCK - (sizeBytes % BLOCK)) % BLOCK)
  return bytes ?? Buffer.alloc(0)
}

async function readPax(source: ByteSource, sizeBytes: number): Promise<Map<string, Buffer>> {
  const bytes = await readExtended(source, sizeBytes)
  const records = new Map<string, Buffer>()
  let at = 0
  while (at < bytes.byteLength) {
    const space = bytes.indexOf(0x20, at)
    const length = Number(bytes.toString('latin1', at, space))
    const equals = bytes.indexOf(0x3d, space)
    const end = at + length
    if (space === -1 || !Number.isInteger(length) || equals === -1 || equals >= end || end > bytes.byteLength) {
      throw archiveInvalid('a pax header is malformed')
    }
    records.set(bytes.toString('utf8', space + 1, equals), bytes.subarray(equals + 1, end - 1))
    at = end
  }
  return records
}

function paxNumber(records: Records, key: string): number | undefined {
  const text = records.get(key)?.toString()
  if (text === undefined || text === '') return undefined
  const value = Number(text)
  if (!Number.isFinite(value)) throw archiveInvalid(`a pax header has a malformed "${key}"`)
  return value
}

function checkSum(block: Buffer): void {
  const written = numberAt(block, 148, 8)
  let sum = 8 * 0x20
  for (let at = 0; at < BLOCK; at += 1) if (at < 148 || at >= 156) sum += block[at] ?? 0
  if (sum !== written) throw archiveInvalid('the checksum of a header is wrong')
}

/** Octal text, or base 256 when the first bit is set (GNU). */
function numberAt(block: Buffer, at: number, length: number): number {
  const first = block[at] ?? 0
  if (first & 0x80) {
    let value = BigInt(first & 0x7f)
    for (const byte of block.subarray(at + 1, at + length)) value = value * 256n + BigInt(byte)
    return Number(value)
  }
  const text = textAt(block, at, length).trim()
  if (!/^[0-7]*$/.test(text)) throw archiveInvalid('a header has a malformed number')
  return text === '' ? 0 : Number.parseInt(text, 8)
}

function textAt(block: Buffer, at: number, length: number): string {
  return withoutNul(block.subarray(at, at + length)).toString('utf8')
}

function withoutNul(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0)
  return end === -1 ? bytes : bytes.subarray(0, end)
}

function isZero(block: Buffer): boolean {
  return block.every((byte) => byte === 0)
}
