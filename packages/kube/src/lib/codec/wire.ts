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
    const tag = Number(this.readVarint())
    return { number: Math.floor(tag / 8), type: tag % 8 }
  }

  readVarint(): bigint {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.#offset++]
      if (byte === undefined) return this.fail('it ends inside a number')
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    return this.fail('a number is longer than 10 bytes')
  }

  readBytes(): Uint8Array {
    return this.#take(Number(this.readVarint()))
  }

  readDouble(): number {
    const bytes = this.#take(8)
    return new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0, true)
  }

  skip(type: number): void {
    if (type === 0) this.readVarint()
    else if (type === 1) this.#take(8)
    else if (type === 2) this.readBytes()
    else if (type === 5) this.#take(4)
    else this.fail(`wire type ${type} is unknown`)
  }

  fail(state: string): never {
    throw protobufSyntax(this.#subject, state)
  }

  #take(length: number): Uint8Array {
    const end = this.#offset + length
    if (end > this.#bytes.length) this.fail('it ends inside a value')
    const bytes = this.#bytes.subarray(this.#offset, end)
    this.#offset = end
    return bytes
  }
}

/** An int32 or int64 as protobuf writes it: two's complement in 64 bits. */
export function toInteger(varint: bigint): number {
  return Number(BigInt.asIntN(64, varint))
}
