import { narrowInteger } from './exact-json.ts'
import { protobufSyntax } from '../errors.ts'

/** Reads protobuf's wire format: tags, varints, fixed and length-delimited values. Every length is checked. */
export class WireReader {
  #bytes: Uint8Array
  #offset = 0
  #subject: string

  constructor(bytes: Uint8Array, subject: string) {
    this.#bytes = bytes
    this.#subject = subject
  }

  get isDone(): boolean {
    return this.#offset >= this.#bytes.length
  }

  readTag(): { number: number; type: number } {
    const tag = this.readUnsigned()
    return { number: Math.floor(tag / 8), type: tag % 8 }
  }

  /** An int32, int64 or boolean: two's complement in 64 bits. */
  readInteger(): number {
    const value = this.#readSmall()
    return value < 0 ? Number(BigInt.asIntN(64, this.#readLarge())) : value
  }

  /** The same, exactly: what a double cannot hold is a bigint. */
  readExactInteger(): number | bigint {
    const value = this.#readSmall()
    return value < 0 ? narrowInteger(BigInt.asIntN(64, this.#readLarge())) : value
  }

  /** A tag or a length. */
  readUnsigned(): number {
    const value = this.#readSmall()
    return value < 0 ? Number(this.#readLarge()) : value
  }

  readBytes(): Uint8Array {
    return this.#take(this.readUnsigned())
  }

  readDouble(): number {
    const bytes = this.#take(8)
    return new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0, true)
  }

  skip(type: number): void {
    if (type === 0) this.readInteger()
    else if (type === 1) this.#take(8)
    else if (type === 2) this.readBytes()
    else if (type === 5) this.#take(4)
    else this.fail(`wire type ${type} is unknown`)
  }

  fail(state: string): never {
    throw protobufSyntax(this.#subject, state)
  }

  /** A number of up to four bytes, as nearly all are; -1, and nothing read, for a longer one. */
  #readSmall(): number {
    let value = 0
    for (let index = 0; index < 4; index += 1) {
      const byte = this.#bytes[this.#offset + index]
      if (byte === undefined) return this.fail('it ends inside a number')
      value |= (byte & 0x7f) << (7 * index)
      if (byte >= 0x80) continue
      this.#offset += index + 1
      return value
    }
    return -1
  }

  #readLarge(): bigint {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.#offset++]
      if (byte === undefined) return this.fail('it ends inside a number')
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    return this.fail('a number is longer than 10 bytes')
  }

  #take(length: number): Uint8Array {
    const end = this.#offset + length
    if (end > this.#bytes.length) this.fail('it ends inside a value')
    const bytes = this.#bytes.subarray(this.#offset, end)
    this.#offset = end
    return bytes
  }
}
