const pageBytes = 128 << 10
const largestInPage = 32 << 10

/**
 * Room for many objects that come one after the other and mostly stay: a `Buffer` with memory of its own costs about 200
 * bytes more than a part of a page.
 */
export class Pages {
  #page = Buffer.alloc(0)
  #end = 0

  /** Room for `size` bytes, to be filled by the caller. */
  take(size: number): Buffer {
    if (size > largestInPage) return Buffer.allocUnsafeSlow(size)
    if (this.#end + size > this.#page.length) {
      this.#page = Buffer.allocUnsafeSlow(pageBytes)
      this.#end = 0
    }
    const room = this.#page.subarray(this.#end, this.#end + size)
    this.#end += size
    return room
  }
}
