import { createReadStream } from 'node:fs'

import { compressionOf } from '@fairlead/oci'
import type { Descriptor, ImageManifest } from '@fairlead/oci'
import { decompressGzip, decompressZstd, readTar } from '@fairlead/oci/archive'
import type { TarMember } from '@fairlead/oci/archive'
import type { Layout } from '@fairlead/oci/layout'

import type { BuildCache } from '../../layers/cache.ts'
import { nodeComponent, npmComponent, systemComponent } from './component.ts'
import type { Component, Distribution } from './component.ts'

/** What a layer says about packages: a file's path and the facts read out of it, or a path that it removes. */
type Fact =
  | { kind: 'packages'; path: string; packages: readonly SystemPackage[] }
  | { kind: 'system'; path: string; distribution: Distribution }
  | { kind: 'npm'; path: string; name: string; version: string; license?: string | undefined }
  | { kind: 'node'; path: string; version: string }
  | { kind: 'removed'; path: string }

interface SystemPackage {
  name: string
  version: string
  source?: string | undefined
  license?: string | undefined
}

/** Where results of layers are kept: a layer never changes under its digest. */
type FactCache = Pick<BuildCache, 'read' | 'write'>

const FORMAT = '2'

/**
 * Components by the records that package managers leave in the layers (dpkg, apk, `node_modules`), and Node.js by its
 * binary. What a higher layer removes or replaces does not count.
 */
export async function componentsOfLayers(
  layout: Layout,
  manifest: ImageManifest,
  options: { cache?: FactCache | undefined; signal?: AbortSignal | undefined } = {},
): Promise<{ components: Component[]; distribution: Distribution | undefined }> {
  const seen = new Map<string, Fact>()
  for (const layer of manifest.layers) {
    options.signal?.throwIfAborted()
    for (const fact of await factsOf(layout, layer, options)) {
      if (fact.kind === 'removed') removeBelow(seen, fact.path)
      else seen.set(fact.path, fact)
    }
  }
  const facts = [...seen.values()]
  const systems = facts.filter((fact) => fact.kind === 'system')
  const distribution = (systems.find(({ path }) => path === 'etc/os-release') ?? systems[0])?.distribution
  return { distribution, components: facts.flatMap((fact) => toComponents(fact, distribution)) }
}

function toComponents(fact: Fact, distribution: Distribution | undefined): Component[] {
  if (fact.kind === 'npm')
    return [
      {
        ...npmComponent(fact.name, fact.version, `/${fact.path.replace(/\/package\.json$/, '')}`),
        license: fact.license,
      },
    ]
  if (fact.kind === 'node') return [nodeComponent(fact.version, `/${fact.path}`)]
  if (fact.kind !== 'packages') return []
  return fact.packages.map((found) => ({
    ...systemComponent(found, distribution, `/${fact.path}`),
    license: found.license,
  }))
}

function removeBelow(seen: Map<string, Fact>, path: string): void {
  for (const key of seen.keys()) if (key === path || path === '' || key.startsWith(`${path}/`)) seen.delete(key)
}

async function factsOf(
  layout: Layout,
  layer: Descriptor,
  { cache, signal }: { cache?: FactCache | undefined; signal?: AbortSignal | undefined },
): Promise<Fact[]> {
  const key = `scan-layer-${FORMAT}-${layer.digest.replace(':', '-')}`
  const known = await cache?.read<Fact[]>(key)
  if (known) return known
  const facts: Fact[] = []
  const replaced: Fact[] = []
  for await (const member of readTar(contentOf(layout, layer))) {
    signal?.throwIfAborted()
    const whiteout = /^(?:(.*)\/)?\.wh\.(.+)$/.exec(member.path)
    if (whiteout) {
      const [, dir = '', name = ''] = whiteout
      const path = name === '.wh..opq' ? dir : [dir, name].filter(Boolean).join('/')
      replaced.push({ kind: 'removed', path })
    } else if (member.type === 'file') facts.push(...(await readFacts(member)))
  }
  // What a layer removes concerns the layers below, wherever it stands in the archive.
  const all = [...replaced, ...facts]
  await cache?.write(key, all)
  return all
}

async function* contentOf(layout: Layout, { digest, mediaType }: Descriptor): AsyncGenerator<Uint8Array> {
  await layout.hasBlob(digest)
  const stored = createReadStream(layout.blobPath(digest), { highWaterMark: 1 << 20 })
  const compression = compressionOf(mediaType)
  if (compression === 'gzip') yield* decompressGzip(stored)
  else if (compression === 'zstd') yield* decompressZstd(stored)
  else yield* stored as AsyncIterable<Buffer>
}

const MAX_RECORD_BYTES = 64 << 20

async function readFacts(member: TarMember): Promise<Fact[]> {
  const { path } = member
  if (/^(nodejs|usr\/local|usr)\/bin\/node(js)?$/.test(path)) return nodeFacts(member)
  if (member.sizeBytes > MAX_RECORD_BYTES) return []
  if (/^var\/lib\/dpkg\/(status|status\.d\/(?!.*\.md5sums$)[^/]+)$/.test(path)) {
    return [{ kind: 'packages', path, packages: parseDpkg((await member.bytes()).toString()) }]
  }
  if (/^(usr\/)?lib\/apk\/db\/installed$/.test(path)) {
    return [{ kind: 'packages', path, packages: parseApk((await member.bytes()).toString()) }]
  }
  if (/^(etc|usr\/lib)\/os-release$/.test(path)) return systemFacts(path, (await member.bytes()).toString())
  if (/(^|\/)node_modules\/(@[^/]+\/)?[^/@][^/]*\/package\.json$/.test(path)) {
    return npmFacts(path, (await member.bytes()).toString())
  }
  return []
}

/** Records of dpkg's database; packages that were removed but left configuration are not installed. */
function parseDpkg(text: string): SystemPackage[] {
  return text.split(/\n\n+/).flatMap((stanza) => {
    const field = (key: string): string | undefined => new RegExp(`^${key}: (.*)$`, 'm').exec(stanza)?.[1]?.trim()
    const [name, version, status] = [field('Package'), field('Version'), field('Status')]
    if (name === undefined || version === undefined) return []
    if (status !== undefined && !status.endsWith(' installed')) return []
    return [{ name, version, source: field('Source') }]
  })
}

/** Records of apk's database; `o` is the package they were built from. */
function parseApk(text: string): SystemPackage[] {
  return text.split(/\n\n+/).flatMap((stanza) => {
    const field = (key: string): string | undefined => new RegExp(`^${key}:(.*)$`, 'm').exec(stanza)?.[1]?.trim()
    const [name, version] = [field('P'), field('V')]
    return name === undefined || version === undefined
      ? []
      : [{ name, version, source: field('o'), license: field('L') }]
  })
}

function systemFacts(path: string, text: string): Fact[] {
  const field = (key: string): string => new RegExp(`^${key}="?([^"\\n]*)"?$`, 'm').exec(text)?.[1] ?? ''
  const distribution = { id: field('ID'), versionId: field('VERSION_ID') }
  return distribution.id === '' ? [] : [{ kind: 'system', path, distribution }]
}

function npmFacts(path: string, text: string): Fact[] {
  try {
    const { name, version, license } = JSON.parse(text) as Readonly<Record<string, unknown>>
    if (typeof name !== 'string' || typeof version !== 'string') return []
    return [{ kind: 'npm', path, name, version, license: typeof license === 'string' ? license : undefined }]
  } catch {
    return []
  }
}

/** Node.js carries `node.js/v24.21.0` in its data. */
async function nodeFacts(member: TarMember): Promise<Fact[]> {
  const pattern = /node\.js\/v(\d+\.\d+\.\d+(?:-[\w.]+)?)/
  let rest = ''
  for await (const chunk of member.body) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    const isNear = rest.includes('node.js/') || bytes.includes('node.js/v') || /node\.?j?s?\/?$/.test(rest)
    const text = isNear ? rest + bytes.toString('latin1') : ''
    const version = pattern.exec(text)?.[1]
    if (version !== undefined) return [{ kind: 'node', path: member.path, version }]
    rest = bytes.subarray(-64).toString('latin1')
  }
  return []
}
