import { writeSync } from 'node:fs'
import { codeOf } from '../errors.ts'

/** Where finished lines go. */
export interface LogSink {
  /** Takes one line, line feed included. */
  write(line: string): void
  /** Writes out what is held back, before returning. */
  flush(): void
}

export interface FileSinkOptions {
  /** Bytes held back before writing at once instead of at the end of the turn. Default 16 KiB. */
  readonly bufferBytes?: number | undefined
  /** Bytes kept while the reader is slow; lines beyond are dropped and counted. Default 1 MiB. */
  readonly maxPendingBytes?: number | undefined
}

let stdout: LogSink | undefined

/** The process's one sink on standard output: two buffers would mix up the order of lines. */
export function hostStdout(): LogSink {
  stdout ??= createFileSink(1)
  return stdout
}

/**
 * Writes lines to a file descriptor, those of one turn of the event loop by one system call. A reader that is slow, gone, or a disk
 * that is full never stops or crashes the service: what cannot be written stays pending up to a bound, beyond it
 * lines are dropped, and the next line that gets through says how many.
 */
export function createFileSink(fd: number, options: FileSinkOptions = {}): LogSink {
  const bufferBytes = options.bufferBytes ?? 16 * 1024
  const maxPendingBytes = options.maxPendingBytes ?? 1024 * 1024
  let pending = ''
  // What an interrupted write left over. Bytes, because it may begin in the middle of a character.
  let rest: Uint8Array = new Uint8Array()
  let dropped = 0
  let scheduled: NodeJS.Immediate | NodeJS.Timeout | undefined

  const flush = (): void => {
    scheduled = undefined
    if (dropped > 0 && rest.length + pending.length < maxPendingBytes) {
      pending += `{"time":"${new Date().toISOString()}","level":"warn","msg":"log lines dropped","count":${dropped}}\n`
      dropped = 0
    }
    const bytes = Buffer.from(pending)
    pending = ''
    rest = writeAll(fd, rest.length === 0 ? bytes : Buffer.concat([rest, bytes]))
    // The pipe is full or the disk is: try again later, without holding the process open for it.
    if (rest.length > 0) scheduled ??= setTimeout(flush, 50).unref()
  }

  return {
    write(line) {
      if (rest.length + pending.length + line.length > maxPendingBytes) {
        dropped += 1
        return
      }
      pending += line
      if (pending.length >= bufferBytes && !isRetrying(scheduled)) flush()
      else scheduled ??= setImmediate(flush)
    },
    flush,
  }
}

function isRetrying(scheduled: NodeJS.Immediate | NodeJS.Timeout | undefined): boolean {
  return scheduled !== undefined && 'refresh' in scheduled
}

/** Writes as much as the descriptor takes now; returns the rest. */
function writeAll(fd: number, bytes: Uint8Array): Uint8Array {
  let rest = bytes
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest))
    } catch (error) {
      if (codeOf(error) === 'EINTR') continue
      // Nobody will ever read it: keeping it would only fill memory.
      return codeOf(error) === 'EPIPE' || codeOf(error) === 'EBADF' ? new Uint8Array() : rest
    }
  }
  return rest
}
