import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'

import { decompressGzip } from '@fairlead/oci/archive'

import { LeftToNpm } from './left-to-npm.ts'

/** Tarballs up to this size are unpacked in memory: quicker than as a stream, of which most would be one chunk. */
const SMALL_BYTES = 2 << 20
const MAX_SMALL_UNPACKED_BYTES = 32 << 20

/** Where npm keeps content of that SHA-512 (cacache, "content-v2"). */
export function contentPath(cacheDir: string, sha512: string): string {
  const place = [sha512.slice(0, 2), sha512.slice(2, 4), sha512.slice(4)]
  return join(cacheDir, '_cacache', 'content-v2', 'sha512', ...place)
}

/** Size of each tarball; throws {@link LeftToNpm} when one is not there. */
export function sizesOf(paths: readonly string[]): Promise<number[]> {
  return Promise.all(
    paths.map(async (path) => {
      const found = await stat(path).catch(() => undefined)
      if (!found?.isFile()) throw new LeftToNpm('its cache does not have all packages')
      return found.size
    }),
  )
}

/** The tar inside a tarball whose SHA-512 was compared; throws {@link LeftToNpm} when it is another. */
export async function openTarball(path: string, { sizeBytes, sha512 }: Tarball): Promise<AsyncIterable<Uint8Array>> {
  return sizeBytes <= SMALL_BYTES ? readSmall(path, sha512) : streamLarge(path, sha512)
}

/** A tarball in the cache. */
export interface Tarball {
  sizeBytes: number
  sha512: string
}

async function readSmall(path: string, sha512: string): Promise<AsyncIterable<Uint8Array>> {
  const packed = await readFile(path)
  compare(createHash('sha512').update(packed).digest('hex'), sha512)
  const options = { maxOutputLength: MAX_SMALL_UNPACKED_BYTES }
  const tar = await promisify(gunzip)(packed, options).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ERR_BUFFER_TOO_LARGE') return undefined
    throw new LeftToNpm('its cache has a tarball that is not gzip')
  })
  return tar ? Readable.from([tar], { objectMode: true }) : decompressGzip(Readable.from([packed]))
}

async function streamLarge(path: string, sha512: string): Promise<AsyncIterable<Uint8Array>> {
  const sum = createHash('sha512')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) sum.update(chunk as Buffer)
  compare(sum.digest('hex'), sha512)
  return decompressGzip(createReadStream(path, { highWaterMark: 1 << 20 }))
}

function compare(found: string, wanted: string): void {
  if (found !== wanted) throw new LeftToNpm('its cache has a tarball that was changed')
}
