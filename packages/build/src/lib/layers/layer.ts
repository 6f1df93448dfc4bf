import { createReadStream } from 'node:fs'

import { createDigester, mediaTypes } from '@fairlead/oci'
import { compressGzip, createTar, sortEntries } from '@fairlead/oci/archive'
import type { TarEntry } from '@fairlead/oci/archive'
import type { Layout } from '@fairlead/oci/layout'

import type { StoredLayer } from './cache.ts'

/** How to write a layer. */
export interface WriteLayerOptions {
  /** Level of gzip; default 9, which is for small layers that change often. */
  level?: number | undefined
  /** Time of parent directories that are added; default 0. */
  mtimeSeconds?: number | undefined
  signal?: AbortSignal | undefined
}

/** Writes the entries, sorted, as one gzip layer into `layout`; the same entries give the same bytes. */
export async function writeLayer(
  layout: Layout,
  entries: Iterable<TarEntry>,
  options: WriteLayerOptions = {},
): Promise<StoredLayer> {
  const content = createDigester()
  const tar = observed(createTar(sortEntries(entries, options.mtimeSeconds)), (chunk) => {
    options.signal?.throwIfAborted()
    content.update(chunk)
  })
  const { digest, size } = await layout.writeBlob(compressGzip(tar, { level: options.level }))
  return { descriptor: { mediaType: mediaTypes.layerGzip, digest, size }, diffId: content.digest() }
}

/** Makes sure `to` has the layer, copying the blob out of `from` when it must. */
export async function copyLayer(from: Layout, to: Layout, layer: StoredLayer): Promise<void> {
  const { digest } = layer.descriptor
  if (await to.hasBlob(digest)) return
  await to.writeBlob(createReadStream(from.blobPath(digest), { highWaterMark: 1 << 20 }), digest)
}

async function* observed(
  stream: AsyncIterable<Uint8Array>,
  see: (chunk: Uint8Array) => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream) {
    see(chunk)
    yield chunk
  }
}
