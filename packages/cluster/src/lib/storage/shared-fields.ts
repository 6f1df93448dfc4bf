import { crc32 } from 'node:zlib'

/** A part of an object that others have as well, and where in the object it begins. */
export interface SharedPart {
  readonly start: number
  readonly text: Buffer
}

const marker = Buffer.from('"fieldsV1":{')
const name = Buffer.from('fieldsV1')
const smallestText = 128
const largestText = 32 << 10
const maxParts = 8
const openBrace = 0x7b
const closeBrace = 0x7d
const none: readonly SharedPart[] = []

export interface SharedFieldsLimits {
  /** Bytes of texts that new objects may share; what objects share already stays as long as they do. */
  readonly bytes: number
  /** Texts met once, of which only a number is kept. */
  readonly met: number
}

/**
 * The texts of `managedFields[].fieldsV1`: a fifth of a usual pod, and word for word the same in all pods of a Deployment.
 * A text that is met for the second time is kept once for all objects that have it.
 *
 * Where a text ends is only guessed, by its braces: what is shared is compared byte for byte, so that a wrong guess
 * costs memory and nothing else.
 */
export class SharedFields {
  readonly #limits: SharedFieldsLimits
  readonly #texts = new Map<number, Buffer>()
  readonly #met = new Set<number>()
  #bytes = 0
  #latest: Buffer | undefined
  #parts: readonly SharedPart[] = none

  constructor(limits: SharedFieldsLimits = { bytes: 8 << 20, met: 65_536 }) {
    this.#limits = limits
  }

  /** The parts of `object` that others share, in the order in which they stand there. */
  find(object: Buffer): readonly SharedPart[] {
    let parts: SharedPart[] | undefined
    let end = 0
    for (let count = 0; count < maxParts; count += 1) {
      // The name alone is found several times as fast as the marker, which begins with what stands everywhere.
      const at = object.indexOf(name, end) - 1
      if (at < end) break
      const start = at + marker.length - 1
      end = start
      if (object[start] !== openBrace) continue
      const text = this.#again(object, start) ?? this.#share(object, start)
      if (text === undefined) continue
      end = start + text.length
      // Not `push` into an empty array, which makes room for seventeen.
      if (parts === undefined) parts = [{ start, text }]
      else parts.push({ start, text })
    }
    return parts === undefined ? none : this.#oneOf(parts)
  }

  /** The text that was found last, if it stands there: objects of one kind often come one after the other. */
  #again(object: Buffer, start: number): Buffer | undefined {
    const text = this.#latest
    if (text === undefined || start + text.length > object.length) return undefined
    return object.compare(text, 0, text.length, start, start + text.length) === 0 ? text : undefined
  }

  /** Neighbours have the same parts at the same places: one list serves them all. */
  #oneOf(parts: readonly SharedPart[]): readonly SharedPart[] {
    const { length } = parts
    const isSame = ({ start, text }: SharedPart, index: number): boolean =>
      start === this.#parts[index]?.start && text === this.#parts[index].text
    if (length !== this.#parts.length || !parts.every(isSame)) this.#parts = parts
    return this.#parts
  }

  #share(object: Buffer, start: number): Buffer | undefined {
    const text = object.subarray(start, endOf(object, start))
    const shared = this.#find(text)
    if (shared !== undefined) this.#latest = shared
    return shared
  }

  #find(text: Buffer): Buffer | undefined {
    if (text.length < smallestText) return undefined
    const key = crc32(text)
    const known = this.#texts.get(key)
    if (known !== undefined) return known.equals(text) ? known : undefined
    if (!this.#met.has(key)) {
      if (this.#met.size >= this.#limits.met) this.#met.clear()
      this.#met.add(key)
      return undefined
    }
    return this.#keep(key, text)
  }

  #keep(key: number, text: Buffer): Buffer {
    const kept = Buffer.allocUnsafeSlow(text.length)
    text.copy(kept)
    if (this.#bytes + kept.length > this.#limits.bytes) {
      this.#texts.clear()
      this.#bytes = 0
    }
    this.#texts.set(key, kept)
    this.#bytes += kept.length
    return kept
  }
}

function endOf(bytes: Buffer, start: number): number {
  const limit = Math.min(bytes.length, start + largestText)
  let depth = 0
  for (let at = start; at < limit; at += 1) {
    const byte = bytes[at]
    if (byte === openBrace) depth += 1
    else if (byte === closeBrace && (depth -= 1) === 0) return at + 1
  }
  return limit
}
