import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, rename, stat, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'

import { decompressGzip, readTar } from '@fairlead/oci/archive'

import { hashKey } from './cache.ts'
import type { BuildCache, StoredLayer } from './cache.ts'

/** The files of a layer as a folder in the cache. */
export async function unpackedLayer(cache: BuildCache, layer: StoredLayer): Promise<string> {
  const place = join(cache.dir, 'unpacked', hashKey(layer.diffId))
  const isThere = (): Promise<boolean> =>
    stat(place).then(
      () => true,
      () => false,
    )
  if (await isThere()) return place
  return cache.exclusively(`unpacked-${hashKey(layer.diffId)}`, async () => {
    if (await isThere()) return place
    await cache.scratch(async (dir) => {
      const root = join(dir, 'root')
      await mkdir(root)
      const blob = createReadStream(cache.layers.blobPath(layer.descriptor.digest))
      for await (const member of readTar(decompressGzip(blob))) {
        const path = join(root, member.path)
        if (member.type === 'directory') await mkdir(path, { recursive: true })
        if (member.type === 'symlink') await symlink(member.linkPath, path)
        if (member.type === 'file') await pipeline(member.body, createWriteStream(path, { mode: member.mode }))
      }
      await mkdir(dirname(place), { recursive: true })
      await rename(root, place)
    })
    return place
  })
}
