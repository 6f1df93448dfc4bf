/**
 * Writes the protobuf wire format forwards into one growing buffer. A message whose length is not known yet gets room for it,
 * which is filled in at its end: that is cheaper than measuring everything before.
 */
export class ProtobufWriter {
  #bytes: Buffer
  #length = 0

  constructor(sizeBytes = 4096) {
    this.#bytes = Buffer.allocUnsafe(sizeBytes)
  }

  get length(): number {
    return this.#length
  }

  /** What has been written; valid until the next write. */
  view(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  /** What has been written, as bytes that stay. */
  copy(): Buffer {
    return Buffer.from(this.view())
  }

  reset(): void {
    this.#length = 0
  }

  /** Forgets what was written after `length`. */
  truncate(length: number): void {
    this.#length = length
  }

  /** Makes room for `count` more bytes. */
  #reserve(count: number): Buffer {
    const needed = this.#length + count
    if (needed <= this.#bytes.length) return this.#bytes
    const bytes = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, needed))
    this.#bytes.copy(bytes, 0, 0, this.#length)
    this.#bytes = bytes
    return bytes
  }

  /** Field number and wire type: 0 varint, 1 fixed64, 2 length-delimited, 5 fixed32. */
  tag(field: number, wireType: number): void {
    this.varint(field * 8 + wireType)
  }

  /** A whole number from 0 to 2^53. */
  varint(value: number): void {
    const bytes = this.#reserve(10)
    let at = this.#length
    let rest = value
    while (rest >= 0x80) {
      bytes[at++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    bytes[at++] = rest
    this.#length = at
  }

  /** A varint of a signed number, in two's complement of 64 bits as int64 has it. */
  int64(value: number): void {
    if (value >= 0) {
      this.varint(value)
      return
    }
    let rest = BigInt.asUintN(64, BigInt(value))
    const bytes = this.#reserve(10)
    while (rest >= 0x80n) {
      bytes[this.#length++] = Number(rest & 0x7fn) | 0x80
      rest >>= 7n
    }
    bytes[this.#length++] = Number(rest)
  }

  fixed32(value: number): void {
    this.#reserve(4)
    this.#length = this.#bytes.writeUInt32LE(value >>> 0, this.#length)
  }

  /** A whole number from 0 to 2^53. */
  fixed64(value: number): void {
    this.#fixed64(value >>> 0, Math.floor(value / 2 ** 32))
  }

  /** Milliseconds since the epoch, with fractions, as nanoseconds, which a number does not hold. */
  nanos(timeMs: number): void {
    const whole = Math.floor(timeMs)
    const high = Math.floor(whole / 2 ** 32)
    const low = (whole - high * 2 ** 32) * 1e6 + Math.round((timeMs - whole) * 1e6)
    const carry = Math.floor(low / 2 ** 32)
    this.#fixed64(low - carry * 2 ** 32, high * 1e6 + carry)
  }

  #fixed64(low: number, high: number): void {
    const bytes = this.#reserve(8)
    const at = this.#length
    bytes[at] = low
    bytes[at + 1] = low >>> 8
    bytes[at + 2] = low >>> 16
    bytes[at + 3] = low >>> 24
    bytes[at + 4] = high
    bytes[at + 5] = high >>> 8
    bytes[at + 6] = high >>> 16
    bytes[at + 7] = high >>> 24
    this.#length = at + 8
  }

  double(value: number): void {
    this.#reserve(8)
    this.#length = this.#bytes.writeDoubleLE(value, this.#length)
  }

  bytes(bytes: Uint8Array): void {
    this.varint(bytes.length)
    this.raw(bytes)
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length).set(bytes, this.#length)
    this.#length += bytes.length
  }

  /** Length and UTF-8 of a text. Lone surrogates become U+FFFD. */
  string(text: string): void {
    const { length } = text
    // Three bytes for a UTF-16 unit at most.
    const bytes = this.#reserve(length * 3 + 5)
    if (length < 24) {
      if (this.#shortAscii(text, bytes)) return
    }
    if (length * 3 < 0x80) {
      const written = bytes.write(text, this.#length + 1, 'utf8')
      bytes[this.#length] = written
      this.#length += written + 1
      return
    }
    this.varint(Buffer.byteLength(text))
    this.#length += bytes.write(text, this.#length, 'utf8')
  }

  /** A call into the runtime costs more than a few characters. */
  #shortAscii(text: string, bytes: Buffer): boolean {
    const { length } = text
    const at = this.#length + 1
    for (let index = 0; index < length; index += 1) {
      const code = text.charCodeAt(index)
      if (code >= 0x80) return false
      bytes[at + index] = code
    }
    bytes[this.#length] = length
    this.#length = at + length
    return true
  }

  /** The bytes that hex digits stand for, with their length. */
  hex(digits: string): void {
    const size = digits.length >> 1
    const bytes = this.#reserve(size + 1)
    let at = this.#length
    bytes[at++] = size
    for (let index = 0; index < digits.length; index += 2) {
      bytes[at++] = (nibble(digits.charCodeAt(index)) << 4) | nibble(digits.charCodeAt(index + 1))
    }
    this.#length = at
  }

  /**
   * Opens a message of a field; give what is returned, and the same `width`, to {@link end}. `width` is how many bytes its
   * length will take: a guess, a wrong one costs a move.
   */
  begin(field: number, width = 1): number {
    this.tag(field, 2)
    this.#reserve(width)
    this.#length += width
    return this.#length
  }

  /** Closes what {@link begin} opened. */
  end(start: number, width = 1): void {
    const size = this.#length - start
    let wide = width
    while (size >= 2 ** (7 * wide)) wide += 1
    const more = wide - width
    if (more > 0) {
      this.#reserve(more).copyWithin(start + more, start, this.#length)
      this.#length += more
    }
    const bytes = this.#bytes
    const last = start + more - 1
    let rest = size
    // Padded to its width: parsers accept leading groups of zeros.
    for (let at = start - width; at < last; at += 1) {
      bytes[at] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    bytes[last] = rest
  }
}

function nibble(code: number): number {
  return code < 0x3a ? code - 0x30 : code - 0x57
}
