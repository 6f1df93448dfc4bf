import { createWriteStream } from 'node:fs'
import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import { databaseSource } from '../errors.ts'

const MAX_ARCHIVE_BYTES = 8 * 2 ** 30
/** For the whole download, and for a connection on which nothing comes any more. */
const DEADLINE_MS = 30 * 60_000
const SILENCE_MS = 60_000

/** Fetches an archive to a file in `dir` that exists while `use` runs. Throws `FAIRLEAD_BUILD_SCAN_SOURCE`. */
export async function downloadArchive(
  url: string,
  dir: string,
  signal: AbortSignal | undefined,
  use: (file: string) => Promise<void>,
): Promise<void> {
  const file = join(dir, `.download-${randomUUID()}.zip`)
  try {
    await download(url, file, signal)
    await use(file)
  } finally {
    await rm(file, { force: true })
  }
}

async function download(url: string, file: string, signal: AbortSignal | undefined): Promise<void> {
  const shown = withoutCredentials(url)
  const silence = new AbortController()
  const stop = (): void => silence.abort(new Error(`nothing came for ${SILENCE_MS} ms`))
  let timer = setTimeout(stop, SILENCE_MS)
  const signals = [AbortSignal.timeout(DEADLINE_MS), silence.signal, ...(signal ? [signal] : [])]
  let sizeBytes = 0
  const watch = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      clearTimeout(timer)
      timer = setTimeout(stop, SILENCE_MS)
      sizeBytes += chunk.byteLength
      done(sizeBytes > MAX_ARCHIVE_BYTES ? new Error(`it is larger than ${MAX_ARCHIVE_BYTES} bytes`) : null, chunk)
    },
  })
  try {
    const answer = await fetch(url, { signal: AbortSignal.any(signals) })
    if (!answer.ok || !answer.body) throw new Error(`the server answered ${answer.status}`)
    await pipeline(Readable.fromWeb(answer.body), watch, createWriteStream(file))
  } catch (error) {
    signal?.throwIfAborted()
    throw databaseSource(shown, 'it could not be fetched', error)
  } finally {
    clearTimeout(timer)
  }
}

function withoutCredentials(url: string): string {
  const shown = new URL(url)
  shown.username = ''
  shown.password = ''
  shown.search = ''
  return shown.href
}
