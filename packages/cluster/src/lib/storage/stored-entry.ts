import type { Entry, Piece } from './collection.ts'
import type { SharedFields, SharedPart } from './shared-fields.ts'

/** Where the bytes of an object are put; by default into a buffer of their own. */
export type Place = (size: number) => Buffer

/**
 * One version of an object in memory. Once {@link fold}ed, the parts that other objects have as well are left out of its own
 * bytes, and put back for whoever asks for all of them.
 */
export class StoredEntry implements Entry, Piece {
  readonly resource: string
  readonly id: string
  readonly revision: number
  readonly size: number
  cache: unknown
  #own: Buffer
  #shared: readonly SharedPart[] | undefined

  constructor(resource: string, id: string, revision: number, bytes: Buffer, cache?: unknown) {
    this.resource = resource
    this.id = id
    this.revision = revision
    this.size = bytes.length
    this.cache = cache
    this.#own = bytes
  }

  get bytes(): Buffer {
    if (this.#shared === undefined) return this.#own
    const bytes = Buffer.allocUnsafe(this.size)
    this.copy(bytes)
    return bytes
  }

  get isFolded(): boolean {
    return this.#shared !== undefined
  }

  get piece(): Piece {
    return this.#shared === undefined ? this.#own : this
  }

  get length(): number {
    return this.size
  }

  copy(target: Buffer, targetStart = 0): number {
    let from = 0
    let end = targetStart
    for (const { start, text } of this.#shared ?? []) {
      const until = from + targetStart + start - end
      end += this.#own.copy(target, end, from, until)
      end += text.copy(target, end)
      from = until
    }
    this.#own.copy(target, end, from)
    return this.size
  }

  /** The memory that this version keeps alive. */
  get buffer(): ArrayBufferLike {
    return this.#own.buffer
  }

  /** How much of that memory is its own. */
  get ownSize(): number {
    return this.#own.length
  }

  /** Leaves out what others have as well; what remains goes to `place`. Without a place, only if there is such a part. */
  fold(fields: SharedFields | undefined, place?: Place): void {
    if (this.#shared !== undefined) return
    const parts = fields?.find(this.#own) ?? []
    if (parts.length === 0 && place === undefined) return
    const whole = this.#own
    const size = parts.reduce((rest, { text }) => rest - text.length, whole.length)
    const own = place?.(size) ?? Buffer.allocUnsafeSlow(size)
    let from = 0
    let end = 0
    for (const { start, text } of parts) {
      end += whole.copy(own, end, from, start)
      from = start + text.length
    }
    whole.copy(own, end, from)
    this.#own = own
    if (parts.length > 0) this.#shared = parts
  }

  /** Copies what is its own into a buffer that nothing else is in. */
  moveOut(): void {
    const own = Buffer.allocUnsafeSlow(this.#own.length)
    this.#own.copy(own)
    this.#own = own
  }
}
