import { createReadStream } from 'node:fs'
import { createHash } from 'node:crypto'

import { createDigester } from '@fairlead/oci'
import type { Digest } from '@fairlead/oci'
import { decompressGzip, readTar } from '@fairlead/oci/archive'
import type { Layout } from '@fairlead/oci/layout'

import { APP_DIR } from '../bundle/locations.ts'
import { COMPILE_CACHE_DIR } from '../layers/compile-cache.ts'

/** One file, folder or link of `/app`, and for a file where its bytes lie in {@link AppContents.bytes}. */
export interface AppEntry {
  /** Below `/app`. */
  path: string
  type: 'file' | 'directory' | 'symlink'
  mode: number
  mtimeSeconds: number
  offset: number
  sizeBytes: number
  linkPath?: string | undefined
}

/** The folder `/app` of an image. */
export interface AppContents {
  entries: readonly AppEntry[]
  bytes: Buffer
  /** Of names, modes, times and bytes. */
  digest: Digest
}

/**
 * The folder `/app` as layers of an image have it, later layers over earlier ones, sorted. Without compiled code: that is made for
 * the place and processor of the image.
 */
export async function readContents(layout: Layout, layers: readonly Digest[]): Promise<AppContents> {
  const files = new Map<string, Omit<AppEntry, 'offset' | 'sizeBytes'> & { content: Buffer }>()
  for (const digest of layers) {
    for await (const member of readTar(decompressGzip(createReadStream(layout.blobPath(digest))))) {
      if (!member.path.startsWith(`${APP_DIR}/`) || member.path.startsWith(COMPILE_CACHE_DIR)) continue
      const { type, mode, mtimeSeconds } = member
      if (type !== 'file' && type !== 'directory' && type !== 'symlink') continue
      const path = member.path.slice(APP_DIR.length + 1)
      const content = type === 'file' ? await member.bytes() : Buffer.alloc(0)
      const linkPath = type === 'symlink' ? member.linkPath : undefined
      files.set(path, { path, type, mode, mtimeSeconds, content, ...(linkPath === undefined ? {} : { linkPath }) })
    }
  }
  return arrange([...files.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1)))
}

function arrange(files: readonly (Omit<AppEntry, 'offset' | 'sizeBytes'> & { content: Buffer })[]): AppContents {
  let offset = 0
  const entries = files.map(({ content, ...file }) => {
    const entry = { ...file, offset, sizeBytes: content.byteLength }
    offset += content.byteLength
    return entry
  })
  const bytes = Buffer.concat(files.map(({ content }) => content))
  const digester = createDigester()
  digester.update(Buffer.from(JSON.stringify(entries)))
  digester.update(createHash('sha256').update(bytes).digest())
  return { entries, bytes, digest: digester.digest() }
}
