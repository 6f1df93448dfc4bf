import { elfInvalid } from '../errors.ts'

/** What decides whether a shared object or program loads on a machine. */
export interface ElfInfo {
  /** The processor in Go's words; `undefined` for one we do not build for. */
  architecture: 'amd64' | 'arm64' | undefined
  /** Names of the shared libraries it asks for (`DT_NEEDED`). */
  needed: readonly string[]
  /** Which C library those names belong to; `none` when it asks for neither. */
  libc: 'glibc' | 'musl' | 'none'
}

const MACHINES: Record<number, 'amd64' | 'arm64'> = { 62: 'amd64', 183: 'arm64' }
const PT_LOAD = 1
const PT_DYNAMIC = 2
const DT_NEEDED = 1n
const DT_STRTAB = 5n

/** Whether the bytes begin as an ELF file does. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46
}

/** Reads the header and dynamic section of an ELF file; 32-bit and big-endian files have no architecture of ours. */
export function parseElf(bytes: Buffer): ElfInfo {
  if (!isElf(bytes) || bytes.byteLength < 64) throw elfInvalid('it has no ELF header')
  if (bytes[4] !== 2 || bytes[5] !== 1) return { architecture: undefined, needed: [], libc: 'none' }
  const needed = neededOf(bytes)
  return { architecture: MACHINES[bytes.readUInt16LE(18)], needed, libc: libcOf(needed) }
}

/**
 * Drops what lies behind the last loaded segment — symbol tables and debug sections — and the section header table:
 * what `strip` does for a program, for any processor. The program runs the same; native debuggers lose its symbols.
 */
export function stripElf(bytes: Buffer): Buffer {
  if (!isElf(bytes) || bytes[4] !== 2 || bytes[5] !== 1) throw elfInvalid('it is not a 64-bit little-endian file')
  const tableEnd = Number(bytes.readBigUInt64LE(32)) + bytes.readUInt16LE(54) * bytes.readUInt16LE(56)
  const ends = segmentsOf(bytes).map((segment) => segment.offset + segment.fileBytes)
  const stripped = Buffer.from(bytes.subarray(0, Math.max(tableEnd, ...ends)))
  stripped.writeBigUInt64LE(0n, 40)
  stripped.writeUInt16LE(0, 58)
  stripped.writeUInt16LE(0, 60)
  stripped.writeUInt16LE(0, 62)
  return stripped
}

interface Segment {
  type: number
  offset: number
  address: number
  fileBytes: number
}

function segmentsOf(bytes: Buffer): Segment[] {
  const tableAt = Number(bytes.readBigUInt64LE(32))
  const entryBytes = bytes.readUInt16LE(54)
  const count = bytes.readUInt16LE(56)
  if (entryBytes < 56 || tableAt + count * entryBytes > bytes.byteLength) throw elfInvalid('it ends too early')
  return Array.from({ length: count }, (_, index) => {
    const at = tableAt + index * entryBytes
    return {
      type: bytes.readUInt32LE(at),
      offset: Number(bytes.readBigUInt64LE(at + 8)),
      address: Number(bytes.readBigUInt64LE(at + 16)),
      fileBytes: Number(bytes.readBigUInt64LE(at + 32)),
    }
  })
}

function neededOf(bytes: Buffer): string[] {
  const segments = segmentsOf(bytes)
  const dynamic = segments.find((segment) => segment.type === PT_DYNAMIC)
  if (!dynamic) return []
  const entries: [bigint, bigint][] = []
  const end = Math.min(dynamic.offset + dynamic.fileBytes, bytes.byteLength) - 15
  for (let at = dynamic.offset; at < end; at += 16) {
    entries.push([bytes.readBigUInt64LE(at), bytes.readBigUInt64LE(at + 8)])
  }
  const strings = entries.find(([tag]) => tag === DT_STRTAB)?.[1]
  const home = segments.find(
    ({ type, address, fileBytes }) =>
      type === PT_LOAD && strings !== undefined && Number(strings) >= address && Number(strings) < address + fileBytes,
  )
  if (strings === undefined || !home) return []
  const stringsAt = Number(strings) - home.address + home.offset
  return entries.filter(([tag]) => tag === DT_NEEDED).map(([, value]) => textAt(bytes, stringsAt + Number(value)))
}

function textAt(bytes: Buffer, at: number): string {
  const end = bytes.indexOf(0, at)
  return bytes.toString('latin1', at, end === -1 ? at : end)
}

function libcOf(needed: readonly string[]): ElfInfo['libc'] {
  if (needed.some((name) => name.startsWith('libc.musl-') || name === 'libc.so')) return 'musl'
  return needed.some((name) => name === 'libc.so.6' || name.startsWith('ld-linux')) ? 'glibc' : 'none'
}
