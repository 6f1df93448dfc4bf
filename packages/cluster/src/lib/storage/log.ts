import { join } from 'node:path'

import { codeOf } from '../errors.ts'
import { syncDirectory } from './disk.ts'
import type { Disk } from './disk.ts'
import { encodeSegmentHeader, segmentHeaderBytes, segmentName } from './segment.ts'

export interface LogOptions {
  disk: Disk
  /** Size of a new segment; a larger record gets a segment of its own size. */
  segmentBytes: number
  /** Size of the very first segment: small, so that a new store opens fast. */
  firstSegmentBytes: number
  /** Whether a write waits for the disk. */
  sync: boolean
}

/** Where the next record goes. */
export interface LogPosition {
  readonly fd: number
  readonly sequence: number
  readonly end: number
  readonly size: number
}

interface Spare {
  readonly fd: number
  readonly path: string
  readonly size: number
}

const zeros = Buffer.alloc(1 << 20)
const smallestSegment = 256 * 1024

/**
 * An append-only log in segments that are filled with zeros before use: overwriting allocated blocks needs no journal
 * commit of the file system, which makes a durable write about half as dear. After a failed write or sync the rest of
 * a segment is never used again, because the kernel may have dropped the pages it could not write.
 */
export class Log {
  readonly #dir: string
  readonly #options: LogOptions
  #current: LogPosition | undefined
  #broken = false
  #spare: Promise<Spare | undefined> | undefined
  #spares = 0

  constructor(dir: string, options: LogOptions, current?: LogPosition) {
    this.#dir = dir
    this.#options = options
    this.#current = current
  }

  /** Sequence number of the segment that takes records now; 0 before the first. */
  get sequence(): number {
    return this.#current?.sequence ?? 0
  }

  /** Bytes written to the current segment. */
  get segmentBytes(): number {
    return this.#current?.end ?? 0
  }

  /** Whether an append is on disk when it returns. */
  get isSynced(): boolean {
    return this.#options.sync
  }

  /** Whether `bytes` more can be written without a new segment. */
  fits(bytes: number): boolean {
    return this.#current !== undefined && !this.#broken && this.#current.end + bytes <= this.#current.size
  }

  /** Writes on this thread: the shortest way when nothing else waits. */
  appendNow(bytes: Buffer): void {
    const current = this.#usable()
    const { disk, sync } = this.#options
    try {
      disk.writeSync(current.fd, bytes, current.end)
      if (sync) disk.syncNow(current.fd)
    } catch (error) {
      this.#broken = true
      throw error
    }
    this.#advance(current, bytes.length)
  }

  /** Writes in the thread pool, so that requests are parsed while the disk works. One call at a time. */
  async append(bytes: Buffer): Promise<void> {
    const current = this.#usable()
    const { disk, sync } = this.#options
    try {
      await disk.write(current.fd, bytes, current.end)
      if (sync) await disk.sync(current.fd)
    } catch (error) {
      this.#broken = true
      throw error
    }
    this.#advance(current, bytes.length)
  }

  /** Starts the next segment, large enough for `bytes`. The one before is complete and durable from then on. */
  async rotate(bytes: number): Promise<void> {
    const { disk } = this.#options
    const needed = segmentHeaderBytes + bytes
    const spare = await this.#takeSpare(needed)
    const previous = this.#current
    const sequence = this.sequence + 1
    const path = join(this.#dir, segmentName(sequence))
    try {
      if (previous !== undefined && !this.#broken) await disk.sync(previous.fd)
      await disk.write(spare.fd, encodeSegmentHeader({ sequence, previousEnd: previous?.end ?? 0 }), 0)
      await disk.sync(spare.fd)
      await disk.rename(spare.path, path)
      syncDirectory(this.#dir)
    } catch (error) {
      await this.#discard(spare)
      // The new name may or may not be on disk; it must not survive as a segment that later ones do not follow.
      await disk.remove(path).catch(() => undefined)
      throw error
    }
    this.#current = { fd: spare.fd, sequence, end: segmentHeaderBytes, size: spare.size }
    this.#broken = false
    if (previous !== undefined) await disk.close(previous.fd)
  }

  /** Makes everything appended durable. */
  async sync(): Promise<void> {
    if (this.#current !== undefined) await this.#options.disk.sync(this.#current.fd)
  }

  async close(): Promise<void> {
    const spare = await this.#spare
    if (spare !== undefined) await this.#discard(spare)
    if (this.#current !== undefined) await this.#options.disk.close(this.#current.fd)
    this.#current = undefined
  }

  #usable(): LogPosition {
    if (this.#current === undefined || this.#broken) throw new Error('Cannot append: the log has no usable segment')
    return this.#current
  }

  #advance(current: LogPosition, bytes: number): void {
    this.#current = { ...current, end: current.end + bytes }
    // The next segment is made while this one still has room, so that no writer waits for it.
    if (this.#current.end > current.size / 2)
      this.#spare ??= this.#prepare(this.#options.segmentBytes).catch(() => undefined)
  }

  async #takeSpare(needed: number): Promise<Spare> {
    const ready = await this.#spare
    this.#spare = undefined
    if (ready !== undefined && ready.size >= needed) return ready
    if (ready !== undefined) await this.#discard(ready)
    try {
      return await this.#prepare(Math.max(needed, this.#nextSize()))
    } catch (error) {
      // A nearly full disk may still hold a small segment.
      if (codeOf(error) !== 'ENOSPC' || this.#options.segmentBytes <= smallestSegment) throw error
      return await this.#prepare(Math.max(needed, smallestSegment))
    }
  }

  #nextSize(): number {
    return this.#current === undefined ? this.#options.firstSegmentBytes : this.#options.segmentBytes
  }

  async #prepare(size: number): Promise<Spare> {
    const { disk } = this.#options
    this.#spares += 1
    const path = join(this.#dir, `spare-${this.#spares}.tmp`)
    const fd = await disk.create(path)
    try {
      for (let at = 0; at < size; at += zeros.length) {
        await disk.write(fd, zeros.subarray(0, Math.min(zeros.length, size - at)), at)
      }
      await disk.sync(fd)
    } catch (error) {
      await this.#discard({ fd, path, size })
      throw error
    }
    return { fd, path, size }
  }

  async #discard(spare: Spare): Promise<void> {
    await this.#options.disk.close(spare.fd).catch(() => undefined)
    await this.#options.disk.remove(spare.path).catch(() => undefined)
  }
}
