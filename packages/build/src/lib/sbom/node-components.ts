import { execFile } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { compressionOf, hostPlatform } from '@fairlead/oci'
import type { Descriptor } from '@fairlead/oci'
import { decompressGzip, decompressZstd, readTar } from '@fairlead/oci/archive'
import type { Layout } from '@fairlead/oci/layout'
import { npmPurl, renderPurl } from '@fairlead/oci/sbom'
import type { BillComponent } from '@fairlead/oci/sbom'

const run = promisify(execFile)

/** What `process.versions` names and is a program of its own: how others call it, and its licence. */
const PARTS: Readonly<Record<string, { name: string; license: string; npm?: true }>> = {
  acorn: { name: 'acorn', license: 'MIT', npm: true },
  ada: { name: 'ada', license: 'MIT OR Apache-2.0' },
  amaro: { name: 'amaro', license: 'MIT', npm: true },
  ares: { name: 'c-ares', license: 'MIT' },
  brotli: { name: 'brotli', license: 'MIT' },
  cjs_module_lexer: { name: 'cjs-module-lexer', license: 'MIT', npm: true },
  icu: { name: 'icu', license: 'Unicode-3.0' },
  llhttp: { name: 'llhttp', license: 'MIT', npm: true },
  merve: { name: 'merve', license: 'MIT OR Apache-2.0' },
  nbytes: { name: 'nbytes', license: 'MIT' },
  ncrypto: { name: 'ncrypto', license: 'MIT' },
  nghttp2: { name: 'nghttp2', license: 'MIT' },
  nghttp3: { name: 'nghttp3', license: 'MIT' },
  ngtcp2: { name: 'ngtcp2', license: 'MIT' },
  openssl: { name: 'openssl', license: 'Apache-2.0' },
  simdjson: { name: 'simdjson', license: 'Apache-2.0 OR MIT' },
  simdutf: { name: 'simdutf', license: 'Apache-2.0 OR MIT' },
  sqlite: { name: 'sqlite', license: 'blessing' },
  tz: { name: 'tzdata', license: 'public domain' },
  undici: { name: 'undici', license: 'MIT', npm: true },
  uv: { name: 'libuv', license: 'MIT' },
  uvwasi: { name: 'uvwasi', license: 'MIT' },
  v8: { name: 'v8', license: 'BSD-3-Clause' },
  zlib: { name: 'zlib', license: 'Zlib' },
  zstd: { name: 'zstd', license: 'BSD-3-Clause OR GPL-2.0-only' },
}

/** Node.js as a component, with the programs that are compiled into it where their versions are known. */
export function nodeComponents(
  version: string,
  versions: Readonly<Record<string, string>> | undefined,
  properties: Readonly<Record<string, string>> = {},
): BillComponent[] {
  const id = `pkg:generic/node@${version}`
  const parts = Object.entries(versions ?? {}).flatMap(([key, partVersion]): BillComponent[] => {
    const part = Object.hasOwn(PARTS, key) ? PARTS[key] : undefined
    // An empty version: the program is not compiled in.
    if (!part || partVersion === '') return []
    const { name, license } = part
    const purl = part.npm ? npmPurl(name, partVersion) : renderPurl({ type: 'generic', name, version: partVersion })
    return [
      {
        id: `${id}#${name}`,
        type: 'library',
        name,
        version: partVersion,
        purl,
        license,
        properties: { within: 'node' },
      },
    ]
  })
  const node: BillComponent = {
    id,
    type: 'platform',
    name: 'node',
    version,
    purl: id,
    license: 'MIT',
    dependsOn: parts.map((part) => part.id),
    properties,
  }
  return [node, ...parts]
}

/** Versions of what is inside a Node.js, kept between calls by version of Node.js. */
export interface VersionRecords {
  read<T>(key: string): Promise<T | undefined>
  write(key: string, value: unknown): Promise<void>
}

/**
 * What the Node.js in a layer says of itself in `process.versions`. It is asked by running it, so an image for another
 * processor is answered out of `records` alone, where a build for this one left it, or by the Node.js that runs this when it is
 * the same version. `undefined` when nobody knows.
 */
export async function loadNodeVersions(options: {
  layout: Layout
  layer: Descriptor
  version: string
  architecture: string
  records?: VersionRecords | undefined
  signal?: AbortSignal | undefined
}): Promise<Readonly<Record<string, string>> | undefined> {
  const { version, architecture, records } = options
  const key = `node-versions-${version}`
  const known = await records?.read<Record<string, string>>(key)
  if (known) return known
  const isNative = process.platform === 'linux' && architecture === hostPlatform().architecture
  const found = (isNative ? await askNode(options) : undefined) ?? ownVersions(version)
  if (found) await records?.write(key, found)
  return found
}

/** A distribution's Node.js uses libraries of the system, which the official one does not have. */
function ownVersions(version: string): Record<string, string> | undefined {
  const variables = process.config.variables as unknown as Readonly<Record<string, unknown>>
  const isShared = Object.entries(variables).some(([name, value]) => name.startsWith('node_shared_') && value === true)
  if (process.versions.node !== version || isShared) return undefined
  return definedOnly(process.versions)
}

async function askNode(options: {
  layout: Layout
  layer: Descriptor
  version: string
  signal?: AbortSignal | undefined
}): Promise<Record<string, string> | undefined> {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-node-'))
  try {
    const program = join(dir, 'node')
    if (!(await extractNode(options.layout, options.layer, program))) return undefined
    const { stdout } = await run(program, ['-p', 'JSON.stringify(process.versions)'], {
      env: {},
      timeout: 20_000,
      signal: options.signal,
    })
    const versions = definedOnly(JSON.parse(stdout) as NodeJS.ProcessVersions)
    return versions['node'] === options.version ? versions : undefined
  } catch {
    // A machine without the libraries of glibc cannot run it; the bill says less then, and nothing wrong.
    options.signal?.throwIfAborted()
    return undefined
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

async function extractNode(layout: Layout, layer: Descriptor, target: string): Promise<boolean> {
  const stored = createReadStream(layout.blobPath(layer.digest), { highWaterMark: 1 << 20 })
  const compression = compressionOf(layer.mediaType)
  const plain =
    compression === 'zstd' ? decompressZstd(stored) : compression === 'gzip' ? decompressGzip(stored) : stored
  for await (const member of readTar(plain)) {
    if (member.path !== 'nodejs/bin/node' || member.type !== 'file') continue
    await using file = await open(target, 'wx', 0o700)
    for await (const chunk of member.body) {
      for (let written = 0; written < chunk.byteLength;) written += (await file.write(chunk, written)).bytesWritten
    }
    return true
  }
  return false
}

function definedOnly(versions: NodeJS.ProcessVersions): Record<string, string> {
  const all = Object.entries(versions).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  return Object.fromEntries(all.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
