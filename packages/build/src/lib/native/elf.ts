import { elfInvalid } from '../errors.ts'

/** What decides whether a shared object or program loads on a machine. */
export interface ElfInfo {
  /** The processor in Go's words; `undefined` for one we do not build for. */
  architecture: 'amd64' | 'arm64' | undefined
  /** Names of the shared libraries it asks for (`DT_NEEDED`). */
  needed: readonly string[]
  /** Newest version of glibc whose symbols it uses, such as `2.28`; `undefined` when it names none. */
  glibc: string | undefined
  /** Its own name for others (`DT_SONAME`). */
  soname: string | undefined
  /** Which C library those names belong to; `none` when it asks for neither. */
  libc: 'glibc' | 'musl' | 'none'
}

const MACHINES: Record<number, 'amd64' | 'arm64'> = { 62: 'amd64', 183: 'arm64' }
const PT_LOAD = 1
const PT_DYNAMIC = 2
const PT_INTERP = 3
const DT_NEEDED = 1n
const DT_STRTAB = 5n
const DT_SONAME = 14n
const DT_VERNEED = 0x6ffffffen

/** Whether the bytes begin as an ELF file does. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46
}

/** Reads the header and dynamic section of an ELF file; 32-bit and big-endian files have no architecture of ours. */
export function parseElf(bytes: Buffer): ElfInfo {
  if (!isElf(bytes) || bytes.byteLength < 64) throw elfInvalid('it has no ELF header')
  if (bytes[4] !== 2 || bytes[5] !== 1) {
    return { architecture: undefined, needed: [], glibc: undefined, soname: undefined, libc: 'none' }
  }
  const { needed, glibc, soname } = dynamicOf(bytes)
  return { architecture: MACHINES[bytes.readUInt16LE(18)], needed, glibc, soname, libc: libcOf(needed) }
}

/**
 * Drops what lies behind the last loaded segment — symbol tables and debug sections — and the section header table:
 * what `strip` does for a program, for any processor. The program runs the same; native debuggers lose its symbols.
 */
export function stripElf(bytes: Buffer): Buffer {
  const { head, sizeBytes } = strippedHead(bytes)
  return head.subarray(0, sizeBytes)
}

/** The processor of an ELF file, of which the first 64 bytes are enough; `undefined` for one we do not build for. */
export function architectureOf(head: Buffer): 'amd64' | 'arm64' | undefined {
  if (!isElf(head) || head.byteLength < 64) throw elfInvalid('it has no ELF header')
  return head[4] === 2 && head[5] === 1 ? MACHINES[head.readUInt16LE(18)] : undefined
}

/**
 * As {@link stripElf}, for a file that is not read whole: `head` is its beginning up to the end of its program headers at
 * least. Answers what to write in its place, and the size the file is to be cut to.
 */
export function strippedHead(bytes: Buffer): { head: Buffer; sizeBytes: number } {
  if (!isElf(bytes) || bytes[4] !== 2 || bytes[5] !== 1) throw elfInvalid('it is not a 64-bit little-endian file')
  const tableEnd = Number(bytes.readBigUInt64LE(32)) + bytes.readUInt16LE(54) * bytes.readUInt16LE(56)
  const ends = segmentsOf(bytes).map((segment) => segment.offset + segment.fileBytes)
  const sizeBytes = Math.max(tableEnd, ...ends)
  const stripped = Buffer.from(bytes.subarray(0, sizeBytes))
  stripped.writeBigUInt64LE(0n, 40)
  stripped.writeUInt16LE(0, 58)
  stripped.writeUInt16LE(0, 60)
  stripped.writeUInt16LE(0, 62)
  return { head: stripped, sizeBytes }
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

/** What the dynamic section tells (gABI, "Dynamic Section"; LSB Core, "Symbol Versioning"). */
function dynamicOf(bytes: Buffer): Pick<ElfInfo, 'needed' | 'glibc' | 'soname'> {
  const nothing = { needed: [], glibc: undefined, soname: undefined }
  const segments = segmentsOf(bytes)
  const dynamic = segments.find((segment) => segment.type === PT_DYNAMIC)
  if (!dynamic) return nothing
  const entries: [bigint, bigint][] = []
  const end = Math.min(dynamic.offset + dynamic.fileBytes, bytes.byteLength) - 15
  for (let at = dynamic.offset; at < end; at += 16) {
    entries.push([bytes.readBigUInt64LE(at), bytes.readBigUInt64LE(at + 8)])
  }
  const find = (wanted: bigint): bigint | undefined => entries.find(([tag]) => tag === wanted)?.[1]
  const offsetOf = (address: bigint | undefined): number | undefined => {
    if (address === undefined) return undefined
    const place = Number(address)
    const home = segments.find(
      (part) => part.type === PT_LOAD && place >= part.address && place < part.address + part.fileBytes,
    )
    return home && place - home.address + home.offset
  }
  const stringsAt = offsetOf(find(DT_STRTAB))
  if (stringsAt === undefined) return nothing
  const needed = entries
    .filter(([tag]) => tag === DT_NEEDED)
    .map(([, value]) => textAt(bytes, stringsAt + Number(value)))
  const soname = find(DT_SONAME)
  const versionsAt = offsetOf(find(DT_VERNEED))
  const versions = versionsAt === undefined ? [] : versionNames(bytes, versionsAt, stringsAt)
  return {
    needed,
    soname: soname === undefined ? undefined : textAt(bytes, stringsAt + Number(soname)),
    glibc: newestGlibc(versions),
  }
}

const MAX_VERSIONS = 4096

/** Names of the symbol versions a file needs: a list of libraries, each with a list of versions, linked by offsets. */
function versionNames(bytes: Buffer, start: number, stringsAt: number): string[] {
  const names: string[] = []
  for (
    let at = start, next = -1;
    next !== 0 && at + 16 <= bytes.byteLength && names.length < MAX_VERSIONS;
    at += next
  ) {
    const count = bytes.readUInt16LE(at + 2)
    let aux = at + bytes.readUInt32LE(at + 8)
    for (let index = 0; index < count && aux + 16 <= bytes.byteLength; index += 1) {
      names.push(textAt(bytes, stringsAt + bytes.readUInt32LE(aux + 8)))
      aux += bytes.readUInt32LE(aux + 12)
    }
    next = bytes.readUInt32LE(at + 12)
  }
  return names
}

function newestGlibc(versions: readonly string[]): string | undefined {
  const numbers = versions.map((name) => /^GLIBC_(\d+(?:\.\d+)+)$/.exec(name)?.[1]).filter((text) => text !== undefined)
  return numbers.toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1)
}

function textAt(bytes: Buffer, at: number): string {
  const end = bytes.indexOf(0, at)
  return bytes.toString('latin1', at, end === -1 ? at : end)
}

function libcOf(needed: readonly string[]): ElfInfo['libc'] {
  if (needed.some((name) => name.startsWith('libc.musl-') || name === 'libc.so')) return 'musl'
  return needed.some((name) => name === 'libc.so.6' || name.startsWith('ld-linux')) ? 'glibc' : 'none'
}

/** The program that loads this one (`PT_INTERP`); `undefined` for one that is linked statically. */
export function interpreterOf(bytes: Buffer): string | undefined {
  const segment = segmentsOf(bytes).find(({ type }) => type === PT_INTERP)
  return segment && bytes.toString('latin1', segment.offset, segment.offset + segment.fileBytes).replace(/\0.*$/, '')
}
