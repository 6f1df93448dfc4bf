/**
 * Protobuf messages of stored objects: made when somebody asks for the first time, kept while there is room. The stored
 * bytes are the key: they never change, and another version of the object has others.
 */
export class MessageCache {
  readonly #kept = new Map<Buffer, Buffer>()
  readonly #limitBytes: number
  #bytes = 0

  constructor(limitBytes: number = 32 << 20) {
    this.#limitBytes = limitBytes
  }

  get sizeBytes(): number {
    return this.#bytes
  }

  get(stored: Buffer, encode: () => Buffer): Buffer {
    const kept = this.#kept.get(stored)
    if (kept !== undefined) return kept
    const message = encode()
    this.#kept.set(stored, message)
    // The keys belong to the store; those of versions that are past go when their turn comes.
    this.#bytes += message.length
    this.#makeRoom()
    return message
  }

  #makeRoom(): void {
    for (const [stored, message] of this.#kept) {
      if (this.#bytes <= this.#limitBytes) return
      this.#kept.delete(stored)
      this.#bytes -= message.length
    }
  }
}
