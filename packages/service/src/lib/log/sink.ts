import { fstatSync, writeSync } from 'node:fs'
import { codeOf } from '../errors.ts'

/** Where finished lines go. */
export interface LogSink {
  /** Takes one line, line feed included. */
  write(line: string): void
  /** Writes out what is held back, before returning. */
  flush(): void
  /** Lines lost so far, if the sink may lose any. */
  readonly dropped?: number | undefined
  /** Makes the line that tells how many were lost. Set by the first logger that writes here. */
  renderDropped?: ((count: number) => string) | undefined
}

export interface FileSinkOptions {
  /** Bytes held back before writing at once instead of at the end of the turn. Default 16 KiB. */
  readonly bufferBytes?: number | undefined
  /** Bytes kept while the reader is slow; lines beyond are dropped and counted. Default 1 MiB. */
  readonly maxPendingBytes?: number | undefined
  /** How long {@link LogSink.flush} waits for a reader that is slow. Default 1000. */
  readonly flushTimeoutMs?: number | undefined
}

/** Lines within this time of the last write are written together. */
const burstMs = 5

let stdout: LogSink | undefined

/** The process's one sink on standard output: two buffers would mix up the order of lines. */
export function hostStdout(): LogSink {
  if (stdout === undefined) {
    stdout = createFileSink(1)
    makeNonBlocking(1)
    // process.exit() ends the turn that would have written the last lines.
    process.on('exit', () => stdout?.flush())
  }
  return stdout
}

/**
 * Writes lines to a file descriptor, those of one turn of the event loop, and under load of 5 ms, by one system call. A reader that is slow, gone, or a disk
 * that is full never stops or crashes the service: what cannot be written stays pending up to a bound, beyond it
 * lines are dropped, and a line in their place says how many. A pipe must not be in blocking mode, else a
 * reader that stops stops the service; standard output is seen to.
 */
export function createFileSink(fd: number, options: FileSinkOptions = {}): LogSink {
  const bufferBytes = options.bufferBytes ?? 16 * 1024
  const maxPendingBytes = options.maxPendingBytes ?? 1024 * 1024
  const flushTimeoutMs = options.flushTimeoutMs ?? 1000
  let pending = ''
  // What an interrupted write left over. Bytes, because it may begin in the middle of a character.
  let rest: Uint8Array = new Uint8Array()
  let dropped = 0
  /** Of those, how many were not told yet. */
  let untold = 0
  let pushedAt = -Infinity
  let scheduled: NodeJS.Immediate | NodeJS.Timeout | undefined
  let retryMs = 0
  let isLosing = false
  /** A flush has waited for the reader in vain, and nothing has been taken since. */
  let hasGivenUp = false

  const drop = (lines: number): void => {
    dropped += lines
    untold += lines
  }
  /** Hands over what there is. */
  const push = (): 'done' | 'full' | 'failed' => {
    pushedAt = performance.now()
    let { left, error } = writeAll(fd, rest)
    if (error === undefined) {
      const bytes = Buffer.from(pending)
      pending = ''
      ;({ left, error } = writeAll(fd, bytes))
    }
    rest = left
    if (error === undefined) hasGivenUp = false
    if (error === undefined) return 'done'
    if (error === 'EAGAIN' || error === 'EWOULDBLOCK') return 'full'
    if (error === 'EPIPE' || error === 'EBADF') {
      // Nobody will ever read it: keeping it would only fill memory.
      drop(countLines(rest) + countLines(Buffer.from(pending)))
      rest = new Uint8Array()
      pending = ''
    }
    return 'failed'
  }
  /** Notes, where the gap is, how many lines are missing. */
  const tell = (): void => {
    isLosing = false
    if (untold === 0) return
    pending += sink.renderDropped?.(untold) ?? renderDropped(untold)
    untold = 0
  }
  const flushSoon = (): void => {
    scheduled = undefined
    const held = rest.length + pending.length
    let outcome = push()
    if (outcome === 'done' && untold > 0) {
      tell()
      outcome = push()
    }
    // The pipe is full or the disk is: try again later, without holding the process open for it.
    const isMoving = rest.length + pending.length < held
    retryMs = outcome === 'done' || rest.length === 0 ? 0 : isMoving ? 1 : Math.min(50, Math.max(1, retryMs * 2))
    if (retryMs > 0) scheduled ??= setTimeout(flushSoon, retryMs).unref()
  }

  const sink: LogSink = {
    renderDropped: undefined,
    get dropped() {
      return dropped
    },
    write(line) {
      const held = rest.length + pending.length
      // Once lines are lost, more are until there is room again: one gap with one note in it, not many.
      if (isLosing ? held > maxPendingBytes / 2 : held + line.length > maxPendingBytes) {
        isLosing = true
        drop(1)
        return
      }
      if (isLosing) tell()
      pending += line
      if (retryMs > 0) return
      if (pending.length >= bufferBytes) flushSoon()
      // A reader that is woken for every turn of a busy loop costs more than the lines do.
      else
        scheduled ??= performance.now() - pushedAt < burstMs ? setTimeout(flushSoon, burstMs) : setImmediate(flushSoon)
    },
    flush() {
      let outcome = push()
      // To wait in vain once is enough: a process that ends flushes more than once.
      const until = performance.now() + (hasGivenUp ? 0 : flushTimeoutMs)
      while (outcome === 'full' && performance.now() < until) {
        sleepNow(2)
        outcome = push()
      }
      hasGivenUp = outcome === 'full'
      if (outcome === 'done' && untold > 0) {
        tell()
        push()
      }
      if (rest.length > 0 && scheduled === undefined) flushSoon()
    },
  }
  return sink
}

/**
 * A blocking write into a pipe that nobody empties stops the whole process. Node puts the pipe of a standard stream into
 * non-blocking mode when it is first looked at.
 */
function makeNonBlocking(fd: 1): void {
  try {
    const { mode } = fstatSync(fd)
    const kind = mode & 0o17_0000
    if (kind === 0o01_0000 || kind === 0o14_0000) void process.stdout
  } catch {
    // Closed: writing will find out.
  }
}

/** Writes as much as the descriptor takes now; returns the rest and why it is left. */
function writeAll(fd: number, bytes: Uint8Array): { readonly left: Uint8Array; readonly error: string | undefined } {
  let left = bytes
  while (left.length > 0) {
    try {
      left = left.subarray(writeSync(fd, left))
    } catch (error) {
      const code = codeOf(error) ?? 'unknown'
      if (code !== 'EINTR') return { left, error: code }
    }
  }
  return { left, error: undefined }
}

function countLines(bytes: Uint8Array): number {
  let count = 0
  for (const byte of bytes) if (byte === 10) count += 1
  return count
}

function renderDropped(count: number): string {
  return `{"time":"${new Date().toISOString()}","level":"warn","msg":"log lines dropped","count":${count}}\n`
}

const never = new Int32Array(new SharedArrayBuffer(4))

function sleepNow(ms: number): void {
  Atomics.wait(never, 0, 0, ms)
}
