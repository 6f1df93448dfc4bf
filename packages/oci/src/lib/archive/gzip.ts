import { constants, crc32, createGunzip, createZstdDecompress, deflateRaw } from 'node:zlib'
import { pipeline } from 'node:stream'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'

const deflate = promisify(deflateRaw)

/** Input is compressed in blocks of this size, each on its own: fixed, so that the output depends on nothing else. */
const BLOCK_BYTES = 4 << 20
const BLOCKS_IN_FLIGHT = 4
/** No name, no time, "unknown" operating system: zlib would write the host's own there. */
const HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff)

/** How hard to compress: 1 (fast) to 9 (small). */
export interface CompressOptions {
  /** Default 9, whose output zlib keeps equal between processor families. */
  level?: number | undefined
}

/**
 * One gzip member (RFC 1952) whose bytes depend only on the input, the level and the zlib version: the same on any
 * number of processors and for any chunking of the input. Blocks are compressed side by side in the thread pool.
 */
export async function* compressGzip(
  stream: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: CompressOptions = {},
): AsyncGenerator<Uint8Array> {
  const level = options.level ?? 9
  let checksum = 0
  let sizeBytes = 0
  const flying: Promise<Uint8Array>[] = []
  yield HEADER
  for await (const { bytes, isLast } of inBlocks(stream)) {
    checksum = crc32(bytes, checksum)
    sizeBytes += bytes.byteLength
    const finishFlush = isLast ? constants.Z_FINISH : constants.Z_SYNC_FLUSH
    const block = deflate(bytes, { level, finishFlush })
    // Its failure is seen when its turn comes; until then it must not count as unhandled.
    block.catch(() => {})
    flying.push(block)
    if (flying.length >= BLOCKS_IN_FLIGHT) yield (await flying.shift()) ?? new Uint8Array(0)
  }
  for (const block of flying) yield await block
  const trailer = Buffer.alloc(8)
  trailer.writeUInt32LE(checksum, 0)
  trailer.writeUInt32LE(sizeBytes % 2 ** 32, 4)
  yield trailer
}

/** The content of a gzip stream, also of one with several members. */
export function decompressGzip(stream: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  return through(stream, createGunzip())
}

/** The content of a zstd stream. */
export function decompressZstd(stream: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  return through(stream, createZstdDecompress())
}

function through(stream: AsyncIterable<Uint8Array>, transform: NodeJS.ReadWriteStream): AsyncIterable<Uint8Array> {
  // An error on either side destroys `transform` with it, and so reaches whoever iterates.
  pipeline(Readable.from(stream, { objectMode: false }), transform, () => {})
  return transform as unknown as AsyncIterable<Uint8Array>
}

async function* inBlocks(
  stream: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<{ bytes: Buffer; isLast: boolean }> {
  let waiting: Buffer | undefined
  let parts: Uint8Array[] = []
  let gathered = 0
  for await (const chunk of stream) {
    let rest = chunk
    while (rest.byteLength > 0) {
      const part = rest.subarray(0, BLOCK_BYTES - gathered)
      parts.push(part)
      gathered += part.byteLength
      rest = rest.subarray(part.byteLength)
      if (gathered < BLOCK_BYTES) continue
      if (waiting) yield { bytes: waiting, isLast: false }
      waiting = Buffer.concat(parts, gathered)
      parts = []
      gathered = 0
    }
  }
  const rest = Buffer.concat(parts, gathered)
  if (waiting && gathered === 0) return yield { bytes: waiting, isLast: true }
  if (waiting) yield { bytes: waiting, isLast: false }
  yield { bytes: rest, isLast: true }
}
