import { performance } from 'node:perf_hooks'

import { codeOf, storageFull, storageWrite } from '../errors.ts'
import type { Log } from './log.ts'
import { markBatch, sizeOf, writeRecord } from './record.ts'
import type { LogRecord } from './record.ts'

/** A write on its way to the disk. */
export interface PendingWrite {
  readonly record: LogRecord
  /** Called once the write is durable, in order of submission: makes it visible. */
  commit(): void
  /** Called instead of `commit` when the write did not reach the disk. */
  fail(error: Error): void
}

const batchBytes = 4 << 20
/** The buffer of a batch is used again; one that large is not kept. */
const keptBytes = 1 << 20
/** A batch up to this size is written on the main thread: a hop to the thread pool costs more than the write. */
const idleBatch = 2
/** A disk slower than this (smoothed) never holds up the main thread. */
const slowSyncMs = 3
const retryAfterMs = 250

/**
 * Group commit: every write submitted while the disk is busy shares the next sync. Nothing becomes visible before its
 * sync returned, and the order of submission is the order of commits.
 */
export class Committer {
  readonly #dir: string
  readonly #log: Log
  #queue: PendingWrite[] = []
  #running = false
  #scheduled = false
  #syncMs = 0
  #failure: { error: Error; until: number } | undefined
  #idle: (() => void)[] = []
  #buffer = Buffer.alloc(0)
  /** Called when a segment was completed; everything committed so far is in it or in segments before it. */
  onRotate: (completed: { sequence: number; bytes: number }) => void = () => undefined

  constructor(dir: string, log: Log) {
    this.#dir = dir
    this.#log = log
  }

  submit(write: PendingWrite): void {
    this.#queue.push(write)
    this.#schedule()
  }

  /** Resolves when nothing waits for the disk. */
  async drained(): Promise<void> {
    if (!this.#running && this.#queue.length === 0) return
    await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  #schedule(): void {
    if (this.#running || this.#scheduled) return
    this.#scheduled = true
    // After the poll phase: all requests that arrived together share one sync.
    setImmediate(() => {
      this.#scheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#running) return
    const batch = this.#take()
    if (batch.length === 0) return this.#settle()
    const bytes = this.#encode(batch)
    if (this.#log.isSynced) markBatch(bytes)
    if (batch.length <= idleBatch && this.#syncMs < slowSyncMs && this.#log.fits(bytes.length)) {
      this.#commitNow(batch, bytes)
      return this.#queue.length > 0 ? this.#schedule() : this.#settle()
    }
    this.#running = true
    void this.#commitInPool(batch, bytes).finally(() => {
      this.#running = false
      this.#flush()
    })
  }

  #commitNow(batch: readonly PendingWrite[], bytes: Buffer): void {
    const start = performance.now()
    try {
      this.#log.appendNow(bytes)
    } catch (error) {
      return failAll(batch, this.#failed(error))
    }
    this.#measure(performance.now() - start)
    for (const write of batch) write.commit()
  }

  async #commitInPool(batch: readonly PendingWrite[], bytes: Buffer): Promise<void> {
    const failure = this.#failure
    const isFull = !this.#log.fits(bytes.length)
    if (isFull && failure !== undefined && performance.now() < failure.until) return failAll(batch, failure.error)
    try {
      if (isFull) await this.#rotate(bytes.length)
      const start = performance.now()
      await this.#log.append(bytes)
      if (batch.length <= idleBatch) this.#measureInPool(performance.now() - start)
    } catch (error) {
      return failAll(batch, this.#failed(error))
    }
    this.#failure = undefined
    for (const write of batch) write.commit()
  }

  async #rotate(bytes: number): Promise<void> {
    const completed = { sequence: this.#log.sequence, bytes: this.#log.segmentBytes }
    await this.#log.rotate(bytes)
    this.onRotate(completed)
  }

  #failed(cause: unknown): Error {
    const error = codeOf(cause) === 'ENOSPC' ? storageFull(this.#dir, cause) : storageWrite(this.#dir, cause)
    this.#failure = { error, until: performance.now() + retryAfterMs }
    return error
  }

  #measure(elapsedMs: number): void {
    this.#syncMs = this.#syncMs * 0.9 + elapsedMs * 0.1
  }

  /**
   * Time in the pool includes the waiting of a busy process, so it never makes the disk look slower; and a disk that was
   * slow once is tried again now and then.
   */
  #measureInPool(elapsedMs: number): void {
    this.#syncMs = Math.min(this.#syncMs * 0.98, this.#syncMs * 0.9 + elapsedMs * 0.1)
  }

  #take(): PendingWrite[] {
    let bytes = 0
    let count = 0
    for (const { record } of this.#queue) {
      bytes += sizeOf(record)
      if (count > 0 && bytes > batchBytes) break
      count += 1
    }
    return this.#queue.splice(0, count)
  }

  /** The records of a batch, in a buffer that is free again when the log has taken them: there is one batch at a time. */
  #encode(batch: readonly PendingWrite[]): Buffer {
    let size = 0
    for (const { record } of batch) size += sizeOf(record)
    const buffer = this.#bufferOf(size)
    let end = 0
    for (const { record } of batch) end = writeRecord(record, buffer, end)
    return buffer.subarray(0, end)
  }

  #bufferOf(size: number): Buffer {
    if (size <= this.#buffer.length) return this.#buffer
    const buffer = Buffer.allocUnsafeSlow(Math.max(size, Math.min(2 * this.#buffer.length, keptBytes)))
    if (buffer.length <= keptBytes) this.#buffer = buffer
    return buffer
  }

  #settle(): void {
    for (const resolve of this.#idle.splice(0)) resolve()
  }
}

function failAll(batch: readonly PendingWrite[], error: Error): void {
  for (const write of batch) write.fail(error)
}
