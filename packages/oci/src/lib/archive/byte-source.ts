import { archiveInvalid } from '../errors.ts'

/** Reads exact amounts from a stream of chunks of any size, holding at most one chunk beyond what was asked for. */
export class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>
  #rest: Uint8Array = new Uint8Array(0)

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#chunks = stream[Symbol.asyncIterator]()
  }

  /** Exactly `length` bytes, or `undefined` at a clean end; an end in between throws. */
  async read(length: number): Promise<Buffer | undefined> {
    const parts: Uint8Array[] = []
    let missing = length
    while (missing > 0) {
      const part = await this.some(missing)
      if (!part) {
        if (missing === length) return undefined
        throw archiveInvalid('it ends in the middle of an entry')
      }
      parts.push(part)
      missing -= part.byteLength
    }
    return Buffer.concat(parts, length)
  }

  /** Between 1 and `max` bytes, as they come; `undefined` at the end. */
  async some(max: number): Promise<Uint8Array | undefined> {
    while (this.#rest.byteLength === 0) {
      const next = await this.#chunks.next()
      if (next.done) return undefined
      this.#rest = next.value
    }
    const part = this.#rest.subarray(0, max)
    this.#rest = this.#rest.subarray(part.byteLength)
    return part
  }

  async skip(length: number): Promise<void> {
    const missing = await this.skipAtMost(length)
    if (missing > 0) throw archiveInvalid('it ends in the middle of an entry')
  }

  /** How many of the bytes were not there any more. */
  async skipAtMost(length: number): Promise<number> {
    let missing = length
    while (missing > 0) {
      const part = await this.some(missing)
      if (!part) break
      missing -= part.byteLength
    }
    return missing
  }

  /** Reads to the end, so that a checksum over the stream sees all of it. */
  async drain(): Promise<void> {
    while (await this.some(Number.MAX_SAFE_INTEGER));
  }

  async close(): Promise<void> {
    await this.#chunks.return?.()
  }
}
