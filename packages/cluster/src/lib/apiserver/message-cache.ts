/**
 * Protobuf messages of stored objects: made when somebody asks for the first time, kept while there is room. The entry is
 * the key: what it says never changes, and another version of the object is another entry.
 */
export class MessageCache {
  readonly #kept = new Map<object, Buffer>()
  readonly #limitBytes: number
  #bytes = 0

  constructor(limitBytes: number = 32 << 20) {
    this.#limitBytes = limitBytes
  }

  get sizeBytes(): number {
    return this.#bytes
  }

  get(stored: object, encode: () => Buffer): Buffer {
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
