import { createReadStream } from 'node:fs'
import { posix } from 'node:path'

import { mediaTypes } from '@fairlead/oci'
import { decompressGzip, decompressZstd, readTar } from '@fairlead/oci/archive'

import type { BuildCache, StoredLayer } from '../layers/cache.ts'
import type { ReportedBasePackage } from '../report.ts'

/** What a base offers to programs, read from its files. */
export interface BaseContents {
  /** File names of shared libraries, such as `libstdc++.so.6`. */
  libraries: readonly string[]
  /** `glibc`, `musl`, or `none` when it has no C library of its own. */
  libc: 'glibc' | 'musl' | 'none'
  /** Version of glibc, such as `2.36`, when a package tells it. */
  glibc: string | undefined
  /** Where the base has a Node.js of its own. */
  node: string | undefined
  distribution: { id: string; versionId: string } | undefined
  packages: readonly ReportedBasePackage[]
}

const LIBRARY = /^(usr\/)?(local\/)?lib(32|64|x32)?\/(.*\/)?([^/]+\.so(\.[\d.]+)?)$/
const MAX_TEXT_BYTES = 32 << 20

/** Reads the layers of a base image; files that a later layer removes are still counted. */
export async function readContents(cache: BuildCache, layers: readonly StoredLayer[]): Promise<BaseContents> {
  const libraries = new Set<string>()
  const texts = new Map<string, string>()
  let node: string | undefined
  for (const { descriptor } of layers) {
    const blob = createReadStream(cache.layers.blobPath(descriptor.digest))
    for await (const member of readTar(decompressed(blob, descriptor.mediaType), { maxMemberBytes: MAX_TEXT_BYTES })) {
      if (LIBRARY.test(member.path)) libraries.add(posix.basename(member.path))
      if (/^usr\/(local\/)?bin\/node$/.test(member.path)) node = `/${member.path}`
      const isText =
        /^(usr\/lib|etc)\/os-release$|^lib\/apk\/db\/installed$|^var\/lib\/dpkg\/status(\.d\/[^/]+)?$/.test(member.path)
      if (isText && member.type === 'file' && !member.path.endsWith('.md5sums')) {
        texts.set(member.path, (await member.bytes()).toString())
      }
    }
  }
  return { node, ...describe([...libraries], texts) }
}

function decompressed(blob: AsyncIterable<Uint8Array>, mediaType: string): AsyncIterable<Uint8Array> {
  if (mediaType === mediaTypes.layer) return blob
  return mediaType.endsWith('zstd') ? decompressZstd(blob) : decompressGzip(blob)
}

function describe(libraries: readonly string[], texts: ReadonlyMap<string, string>): Omit<BaseContents, 'node'> {
  const release = texts.get('usr/lib/os-release') ?? texts.get('etc/os-release') ?? ''
  const field = (name: string): string | undefined => new RegExp(`^${name}="?([^"\n]+)"?$`, 'm').exec(release)?.[1]
  const [id, versionId] = [field('ID'), field('VERSION_ID')]
  const packages = [...texts].flatMap(([path, text]) =>
    path.startsWith('var/lib/dpkg/')
      ? debianPackages(text)
      : path === 'lib/apk/db/installed'
        ? alpinePackages(text)
        : [],
  )
  const isMusl = libraries.some((name) => name.startsWith('ld-musl-'))
  const isGlibc = libraries.some((name) => name.startsWith('ld-linux'))
  return {
    libraries: libraries.toSorted(),
    libc: isMusl ? 'musl' : isGlibc ? 'glibc' : 'none',
    glibc: glibcVersion(packages),
    distribution: id !== undefined && versionId !== undefined ? { id, versionId } : undefined,
    packages: packages.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
  }
}

/** `2.36` of the Debian package `libc6`. */
export function glibcVersion(packages: readonly ReportedBasePackage[]): string | undefined {
  const found = packages.find(({ name }) => name === 'libc6' || name === 'glibc')
  return /^\d+\.\d+/.exec(found?.version ?? '')?.[0]
}

function debianPackages(text: string): ReportedBasePackage[] {
  return text.split(/\n\n+/).flatMap((stanza) => {
    const field = (name: string): string | undefined => new RegExp(`^${name}: (.*)$`, 'm').exec(stanza)?.[1]
    const [name, version, source] = [field('Package'), field('Version'), field('Source')]
    if (name === undefined || version === undefined) return []
    return [{ name, version, architecture: field('Architecture') ?? '', ...(source === undefined ? {} : { source }) }]
  })
}

function alpinePackages(text: string): ReportedBasePackage[] {
  return text.split(/\n\n+/).flatMap((stanza) => {
    const field = (name: string): string | undefined => new RegExp(`^${name}:(.*)$`, 'm').exec(stanza)?.[1]
    const [name, version, source] = [field('P'), field('V'), field('o')]
    if (name === undefined || version === undefined) return []
    const other = source === undefined || source === name ? {} : { source }
    return [{ name, version, architecture: field('A') ?? '', ...other }]
  })
}
