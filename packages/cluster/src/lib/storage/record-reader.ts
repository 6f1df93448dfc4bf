import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

import { decodeRecords, frameLength } from './record.ts'
import type { LogRecord } from './record.ts'

/** What is read at once, into the same memory each time. */
const pieceBytes = 128 * 1024
const smallestFrame = 8

/** A file of records, read piece by piece: never more in memory than its records and one piece. */
export class RecordReader implements Disposable {
  readonly size: number
  readonly #fd: number
  #piece: Buffer | undefined

  constructor(path: string) {
    this.#fd = openSync(path, 'r')
    this.size = fstatSync(this.#fd).size
  }

  /** The bytes from `start` to `end`, or to the end of the file. */
  read(start: number, end: number): Buffer {
    return this.#readInto(Buffer.allocUnsafeSlow(Math.max(0, Math.min(end, this.size) - start)), start)
  }

  #readInto(bytes: Buffer, start: number): Buffer {
    let done = 0
    while (done < bytes.length) {
      const count = readSync(this.#fd, bytes, done, bytes.length - done, start + done)
      if (count === 0) break
      done += count
    }
    return done === bytes.length ? bytes : bytes.subarray(0, done)
  }

  /**
   * Visits every whole record between `start` and `end`; returns where the first byte stands that is not part of one. The
   * bytes of a record are overwritten after its visit.
   */
  visit(start: number, end: number, visit: (record: LogRecord) => void): number {
    const limit = Math.min(end, this.size)
    let at = start
    while (at + smallestFrame <= limit) {
      this.#piece ??= Buffer.allocUnsafeSlow(Math.min(pieceBytes, limit - at))
      const piece = this.#readInto(this.#piece.subarray(0, limit - at), at)
      let used = decodeRecords(piece, 0, visit)
      if (used === 0) used = this.#visitLarge(at, limit, piece, visit)
      if (used === 0) break
      at += used
    }
    return at
  }

  /** Whether nothing but zeros follows from `start` on; only a piece of it is in memory at a time. */
  isEmptyFrom(start: number): boolean {
    const piece = Buffer.allocUnsafeSlow(Math.min(pieceBytes, Math.max(0, this.size - start)))
    const zeros = Buffer.alloc(piece.length)
    for (let at = start; at < this.size; at += piece.length) {
      const read = this.#readInto(piece.subarray(0, this.size - at), at)
      if (!read.equals(zeros.subarray(0, read.length))) return false
    }
    return true
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }

  /** A record that is larger than a piece. */
  #visitLarge(at: number, limit: number, piece: Buffer, visit: (record: LogRecord) => void): number {
    if (piece.length < smallestFrame) return 0
    const length = frameLength(piece, 0)
    if (length <= piece.length || at + length > limit) return 0
    return decodeRecords(this.read(at, at + length), 0, visit)
  }
}
