/**
 * Archives as image layers use them: a deterministic tar writer, a bounded streaming reader, gzip and zstd.
 *
 * @example
 * ```ts
 * import { compressGzip, createTar } from '@fairlead/oci/archive'
 *
 * const tar = createTar([{ path: 'app/main.js', type: 'file', content: Buffer.from('console.log(1)') }])
 * const chunks: Uint8Array[] = []
 * for await (const chunk of compressGzip(tar)) chunks.push(chunk)
 * ```
 */
export type { TarContent, TarEntry, TarMember } from './lib/archive/entry.ts'
export { compressGzip, decompressGzip, decompressZstd } from './lib/archive/gzip.ts'
export type { CompressOptions } from './lib/archive/gzip.ts'
export { readTar } from './lib/archive/tar-reader.ts'
export type { ReadTarOptions } from './lib/archive/tar-reader.ts'
export { createTar, sortEntries } from './lib/archive/tar-writer.ts'
