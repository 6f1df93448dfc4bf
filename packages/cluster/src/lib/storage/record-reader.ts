import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

import { decodeRecords, frameLength } from './record.ts'
import type { LogRecord } from './record.ts'

/** What is read at once. Records are views into it: one of them keeps all of them in memory. */
const pieceBytes = 128 * 1024
const smallestFrame = 8

/** A file of records, read piece by piece: never more in memory than its records and one piece. */
export class RecordReader implements Disposable {
  readonly size: number
  readonly #fd: number

  constructor(path: string) {
    this.#fd = openSync(path, 'r')
    this.size = fstatSync(this.#fd).size
  }

  /** The bytes from `start` to `end`, or to the end of the file. */
  read(start: number, end: number): Buffer {
    const bytes = Buffer.allocUnsafeSlow(Math.max(0, Math.min(end, this.size) - start))
    let done = 0
    while (done < bytes.length) {
      const count = readSync(this.#fd, bytes, done, bytes.length - done, start + done)
      if (count === 0) break
      done += count
    }
    return done === bytes.length ? bytes : bytes.subarray(0, done)
  }

  /** Visits every whole record between `start` and `end`; returns where the first byte stands that is not part of one. */
  visit(start: number, end: number, visit: (record: LogRecord) => void): number {
    const limit = Math.min(end, this.size)
    let at = start
    while (at + smallestFrame <= limit) {
      const piece = this.read(at, Math.min(limit, at + pieceBytes))
      let used = decodeRecords(piece, 0, visit)
      if (used === 0) used = this.#visitLarge(at, limit, piece, visit)
      if (used === 0) break
      at += used
    }
    return at
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
