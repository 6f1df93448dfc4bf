/**
 * Writes protobuf's wire format from the end to the beginning, so that the length of a message is known when it has to be
 * written and nothing is copied: fields are given in reverse order, each value before its tag.
 */
export class WireWriter {
  #bytes: Buffer
  #start: number

  constructor(capacity = 4096) {
    this.#bytes = Buffer.allocUnsafeSlow(capacity)
    this.#start = capacity
  }

  /** How much is written; the difference of two readings is the length of what was written between them. */
  get length(): number {
    return this.#bytes.length - this.#start
  }

  /** A copy of what is written, in memory of its own. */
  toBuffer(): Buffer {
    const written = Buffer.allocUnsafeSlow(this.length)
    this.#bytes.copy(written, 0, this.#start)
    return written
  }

  /** Forgets what was written; the memory is used again. */
  reset(): void {
    this.#start = this.#bytes.length
  }

  writeTag(number: number, type: number): void {
    this.writeVarint(number * 8 + type)
  }

  /** A whole number; negative ones take ten bytes, as in Go. */
  writeVarint(value: number | bigint): void {
    if (typeof value === 'bigint') this.#writeLarge(BigInt.asUintN(64, value))
    else if (value >= 0 && value < 0x80) {
      this.#reserve(1)
      this.#bytes[this.#start] = value
    } else if (value >= 0 && value < 2 ** 31) this.#writeSmall(value)
    else this.#writeLarge(BigInt.asUintN(64, BigInt(value)))
  }

  writeDouble(value: number): void {
    this.#reserve(8)
    this.#bytes.writeDoubleLE(value, this.#start)
  }

  /** Text without its length. */
  writeText(text: string): void {
    const { length } = text
    if (length > shortText) return this.#writeLongText(text)
    this.#reserve(length)
    const bytes = this.#bytes
    const start = this.#start
    for (let index = 0; index < length; index += 1) {
      const code = text.charCodeAt(index)
      if (code >= 0x80) {
        this.#start += length
        return this.#writeLongText(text)
      }
      bytes[start + index] = code
    }
  }

  writeBytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#start)
  }

  #writeLongText(text: string): void {
    this.#reserve(Buffer.byteLength(text))
    this.#bytes.write(text, this.#start)
  }

  #writeSmall(value: number): void {
    const size = value < 1 << 14 ? 2 : value < 1 << 21 ? 3 : value < 1 << 28 ? 4 : 5
    this.#reserve(size)
    let rest = value
    for (let at = this.#start; at < this.#start + size - 1; at += 1) {
      this.#bytes[at] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.#bytes[this.#start + size - 1] = rest
  }

  #writeLarge(value: bigint): void {
    const digits: number[] = []
    for (let rest = value; ; rest >>= 7n) {
      if (rest < 0x80n) {
        digits.push(Number(rest))
        break
      }
      digits.push(Number(rest & 0x7fn) | 0x80)
    }
    this.writeBytes(Uint8Array.from(digits))
  }

  #reserve(size: number): void {
    if (this.#start < size) this.#grow(size)
    this.#start -= size
  }

  #grow(size: number): void {
    const written = this.length
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, written + size))
    this.#bytes.copy(grown, grown.length - written, this.#start)
    this.#bytes = grown
    this.#start = grown.length - written
  }
}

/** Up to here a loop is faster than a call into native code. */
const shortText = 32
