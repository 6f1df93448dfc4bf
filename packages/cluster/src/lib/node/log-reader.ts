import { watch } from 'node:fs'
import { open, readdir, stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** What of a container's log to read (core/v1 PodLogOptions). */
export interface LogOptions {
  readonly follow?: boolean | undefined
  readonly timestamps?: boolean | undefined
  /** Lines from the end. */
  readonly tailLines?: number | undefined
  /** Only lines written at or after this time, milliseconds since 1970. */
  readonly since?: number | undefined
  readonly limitBytes?: number | undefined
  readonly stream?: 'stdout' | 'stderr' | undefined
  readonly signal?: AbortSignal | undefined
  /** Says whether the container still writes; following ends when it does not. Default: it does. */
  readonly isOpen?: (() => boolean) | undefined
}

const CHUNK_BYTES = 64 * 1024
/** A line without an end must not fill the memory; runtimes split theirs at 8 or 16 KiB. */
const MAX_LINE_BYTES = 1 << 20
/** File systems without change events exist; an end is seen this late there. */
const POLL_MS = 250

/**
 * Reads a log of the CRI format (`<time> <stream> <F|P> <text>`) with the files it was rotated to (`<path>.<time>`),
 * oldest first. Follows into the next file when the log is rotated. Holds one chunk and one line in memory.
 */
export async function* readLog(path: string, options: LogOptions = {}): AsyncGenerator<Uint8Array> {
  let left = options.limitBytes ?? Number.POSITIVE_INFINITY
  for await (const line of selectLines(path, options)) {
    const text = renderLine(line, options)
    if (text === undefined) continue
    const bytes = Buffer.from(text)
    if (bytes.byteLength >= left) {
      yield bytes.subarray(0, left)
      return
    }
    left -= bytes.byteLength
    yield bytes
  }
}

/** What a line of the file says: its text, with the time before it when asked for; undefined for one that is left out. */
function renderLine(line: string, options: LogOptions): string | undefined {
  const [time = '', stream = '', tag = ''] = line.split(' ', 3)
  const text = line.slice(time.length + stream.length + tag.length + 3)
  if (tag === '' || (options.stream && stream !== options.stream)) return undefined
  if (options.since !== undefined && Date.parse(time) < options.since) return undefined
  // "P" marks a part of a line: the next entry goes on with it.
  return `${options.timestamps ? `${time} ` : ''}${text}${tag.startsWith('P') ? '' : '\n'}`
}

async function* selectLines(path: string, options: LogOptions): AsyncGenerator<string> {
  const older = await rotatedFiles(path)
  const first = options.tailLines === undefined ? undefined : await findTail([...older, path], options.tailLines)
  for (const file of older) {
    if (first && first.skipped.has(file)) continue
    yield* linesOf(file, first?.file === file ? first.offset : 0)
  }
  yield* followLines(path, first?.file === path ? first.offset : 0, options)
}

/** Earlier parts of a log, oldest first. */
export async function rotatedFiles(path: string): Promise<string[]> {
  const prefix = `${basename(path)}.`
  const names = await readdir(dirname(path)).catch(() => [])
  const parts = names.filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)))
  const timeOf = (name: string): number => Number(name.slice(prefix.length))
  return parts.toSorted((a, b) => timeOf(a) - timeOf(b)).map((name) => join(dirname(path), name))
}

/** Where the last `count` lines begin, read backwards; files before that are skipped. */
async function findTail(
  files: readonly string[],
  count: number,
): Promise<{ file: string; offset: number; skipped: ReadonlySet<string> }> {
  let missing = count
  for (let at = files.length - 1; at >= 0; at -= 1) {
    const file = files[at] ?? ''
    const { offset, found } = await lastLines(file, missing)
    missing -= found
    if (missing <= 0 || at === 0) return { file, offset, skipped: new Set(files.slice(0, at)) }
  }
  return { file: '', offset: 0, skipped: new Set() }
}

async function lastLines(path: string, count: number): Promise<{ offset: number; found: number }> {
  const file = await open(path).catch(() => undefined)
  if (!file) return { offset: 0, found: 0 }
  try {
    const { size } = await file.stat()
    if (count <= 0) return { offset: size, found: 0 }
    const chunk = Buffer.alloc(CHUNK_BYTES)
    let found = 0
    for (let end = size; end > 0;) {
      const start = Math.max(0, end - CHUNK_BYTES)
      const { bytesRead } = await file.read(chunk, 0, end - start, start)
      for (let at = bytesRead - 1; at >= 0; at -= 1) {
        // The newline at the very end belongs to the last line; every other one ends the line before.
        if (chunk[at] !== 0x0a || start + at === size - 1) continue
        found += 1
        if (found === count) return { offset: start + at + 1, found }
      }
      end = start
    }
    return { offset: 0, found: found + (size > 0 ? 1 : 0) }
  } finally {
    await file.close()
  }
}

async function* linesOf(path: string, offset: number): AsyncGenerator<string> {
  const file = await open(path).catch(() => undefined)
  if (!file) return
  try {
    yield* new LineReader(file, offset).lines()
  } finally {
    await file.close()
  }
}

async function* followLines(path: string, offset: number, options: LogOptions): AsyncGenerator<string> {
  const changes = options.follow ? watchFile(path, options.signal) : undefined
  let file: FileHandle | undefined
  try {
    file = await open(path).catch(() => undefined)
    let reader = file && new LineReader(file, offset)
    for (;;) {
      // Asked before reading: what was written before the end is then read too.
      const isOpen = options.isOpen?.() ?? true
      if (reader) yield* reader.lines()
      if (!changes || options.signal?.aborted) return
      const next = await nextFile(path, file)
      if (next) {
        if (reader) yield* reader.lines()
        await file?.close()
        file = next
        reader = new LineReader(next, 0)
        continue
      }
      if (!isOpen) return
      await changes.next()
    }
  } finally {
    changes?.close()
    await file?.close()
  }
}

/** The file now at `path`, opened, when it is another one than `file`. */
async function nextFile(path: string, file: FileHandle | undefined): Promise<FileHandle | undefined> {
  const [now, then] = [await stat(path).catch(() => undefined), await file?.stat()]
  if (!now || (then && now.ino === then.ino)) return undefined
  return open(path).catch(() => undefined)
}

/** Reads whole lines from where it stopped before. */
class LineReader {
  readonly #file: FileHandle
  readonly #chunk = Buffer.alloc(CHUNK_BYTES)
  #at: number
  #rest: Buffer = Buffer.alloc(0)

  constructor(file: FileHandle, offset: number) {
    this.#file = file
    this.#at = offset
  }

  async *lines(): AsyncGenerator<string> {
    for (;;) {
      const { bytesRead } = await this.#file.read(this.#chunk, 0, CHUNK_BYTES, this.#at)
      if (bytesRead === 0) return
      this.#at += bytesRead
      let rest = Buffer.concat([this.#rest, this.#chunk.subarray(0, bytesRead)])
      for (let end = rest.indexOf(0x0a); end !== -1; end = rest.indexOf(0x0a)) {
        yield rest.toString('utf8', 0, end)
        rest = rest.subarray(end + 1)
      }
      this.#rest = rest.byteLength > MAX_LINE_BYTES ? Buffer.alloc(0) : rest
    }
  }
}

/** Wakes up when the file, or which file it is, may have changed. */
function watchFile(path: string, signal: AbortSignal | undefined): { next(): Promise<void>; close(): void } {
  let wake: (() => void) | undefined
  let isDue = false
  const ring = (): void => {
    isDue = true
    wake?.()
  }
  const watcher = (() => {
    try {
      // Rotation replaces the file, so its folder is watched.
      return watch(dirname(path), { persistent: false }, ring).on('error', () => {})
    } catch {
      return undefined
    }
  })()
  const timer = setInterval(ring, POLL_MS)
  timer.unref()
  signal?.addEventListener('abort', ring, { once: true })
  return {
    async next() {
      if (!isDue) {
        const { promise, resolve } = Promise.withResolvers<void>()
        wake = resolve
        await promise
        wake = undefined
      }
      isDue = false
    },
    close() {
      watcher?.close()
      clearInterval(timer)
      signal?.removeEventListener('abort', ring)
    },
  }
}
