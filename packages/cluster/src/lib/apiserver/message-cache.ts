/**
 * Protobuf messages of stored objects: made when somebody asks for the first time, kept while there is room. The stored
 * bytes are the key: they never change, and another version of the object has others.
 */
export class MessageCache {
  readonly #kept = new Map<Buffer, Buffer>()
  readonly #limitBytes: number
  #bytes = 0

  constructor(limitBytes = 32 << 20) {
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
    // What the key keeps alive counts too: most of it belongs to the store anyway, old versions do not.
    this.#bytes += message.length + stored.length
    this.#makeRoom()
    return message
  }

  #makeRoom(): void {
    for (const [stored, message] of this.#kept) {
      if (this.#bytes <= this.#limitBytes) return
      this.#kept.delete(stored)
      this.#bytes -= message.length + stored.length
    }
  }
}
