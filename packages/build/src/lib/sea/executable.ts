import { randomUUID } from 'node:crypto'
import { constants, createReadStream } from 'node:fs'
import { copyFile, mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'

import { createDigester, hostPlatform } from '@fairlead/oci'
import type { Digest } from '@fairlead/oci'
import type { Layout } from '@fairlead/oci/layout'

import { nodeLayer } from '../base/node.ts'
import { diskFull, executableRefused } from '../errors.ts'
import { openCache } from '../layers/cache.ts'
import type { BuildCache } from '../layers/cache.ts'
import { unpackedLayer } from '../layers/unpacked.ts'
import { copyLayer } from '../layers/layer.ts'
import type { BuiltLayer, BuiltPlatform } from '../options.ts'
import { runCommand } from '../run-command.ts'
import { BOOTSTRAP, BYTES_ASSET, SETTINGS_ASSET } from './bootstrap.ts'
import type { SeaSettings } from './bootstrap.ts'
import { readContents } from './contents.ts'
import type { AppContents } from './contents.ts'
import { planNote } from './elf-note.ts'

/** Where the executable goes and what it is made with. */
export interface ExecutableOptions {
  /** The layout that holds the image. */
  layout: Layout
  /** The file to write; one that is there is replaced when all went well. */
  file: string
  /** Name of the program, mostly `<app>/<service>`: part of the folder it unpacks itself to. */
  name: string
  /** Where Node.js is kept between builds, as of {@link BuildImageOptions}. */
  cacheDir: string
  /** Environment given to npm; default `process.env`. */
  env?: NodeJS.ProcessEnv | undefined
  signal?: AbortSignal | undefined
}

/** A finished executable. */
export interface ExecutableResult {
  file: string
  /** Of the file. */
  digest: Digest
  sizeBytes: number
  /** `linux/amd64` or `linux/arm64`. */
  platform: string
  nodeVersion: string
}

const NOTE_NAME = 'NODE_SEA_BLOB'
/** Its last byte is turned into a 1 to tell Node.js that there is a blob (Node.js documentation, "Single executable applications"). */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:'
/** Of the environment of an image, what the program itself goes by. */
const KEPT_VARIABLES = ['NODE_ENV', 'PORT', 'SERVICE_VERSION']

/**
 * Makes one executable file of an image that was built before: its Node.js, with the folder `/app` inside as a single-executable
 * blob. Runs on any Linux of that processor with glibc 2.28 or later. The same image gives the same file to the bit, on whichever
 * processor it is made. Throws `FAIRLEAD_BUILD_EXECUTABLE` for images with another Node.js than that of the npm registry.
 */
export async function buildExecutable(image: BuiltPlatform, options: ExecutableOptions): Promise<ExecutableResult> {
  const file = resolve(options.file)
  const { version } = image.report.node
  const nodeOfImage = image.layers.find(({ title }) => title === 'node')
  if (process.platform !== 'linux') throw executableRefused(file, 'it can be made on Linux only')
  if (nodeOfImage === undefined) throw executableRefused(file, 'the base of the image brings its own Node.js')
  const cache = await openCache(options.cacheDir)
  const { flags, env } = await readStart(image, options)
  const own = image.layers.filter(({ title }) => title !== 'base' && title !== 'node')
  const contents = await readContents(
    options.layout,
    own.map(({ digest }) => digest),
  )
  const key = contents.digest.slice('sha256:'.length, 'sha256:'.length + 16)
  const settings: SeaSettings = { name: options.name, key, env, main: 'main.js', entries: contents.entries }
  const program = await nodeProgram(cache, nodeOfImage, options)
  const maker = await makerFor(program, image, cache, options)
  return cache.scratch(async (dir) => {
    const blob = await makeBlob(maker, { dir, settings, contents, flags }, options)
    const { digest, sizeBytes } = await writeExecutable(program, blob, file)
    return { file, digest, sizeBytes, platform: image.platform, nodeVersion: version }
  })
}

/** How the image starts its program: options of Node.js and variables. */
async function readStart(
  image: BuiltPlatform,
  { layout, file }: ExecutableOptions,
): Promise<{ flags: string[]; env: Record<string, string> }> {
  const found = await layout.resolve(`image@${image.digest}`, image.platform)
  const config = found?.config.config
  if (config === undefined) throw executableRefused(file, `the layout does not hold the image ${image.digest}`)
  const flags = config.Entrypoint?.filter((word) => word.startsWith('--')) ?? []
  const variables = config.Env?.map((entry): [string, string] => [
    entry.slice(0, entry.indexOf('=')),
    entry.slice(entry.indexOf('=') + 1),
  ])
  const env = Object.fromEntries((variables ?? []).filter(([name]) => KEPT_VARIABLES.includes(name)))
  return { flags, env }
}

/** The Node.js of the image as a file. */
async function nodeProgram(cache: BuildCache, layer: BuiltLayer, { layout }: ExecutableOptions): Promise<string> {
  const { title: _title, diffId, ...descriptor } = layer
  await copyLayer(layout, cache.layers, { descriptor, diffId })
  return join(await unpackedLayer(cache, { descriptor, diffId }), 'nodejs/bin/node')
}

/** Only the same version knows how its blobs are written; it need not be for the same processor. */
async function makerFor(
  program: string,
  image: BuiltPlatform,
  cache: BuildCache,
  options: ExecutableOptions,
): Promise<string> {
  const { architecture } = hostPlatform()
  if (image.platform === `linux/${architecture}`) return program
  if (architecture !== 'amd64' && architecture !== 'arm64')
    throw executableRefused(options.file, `Node.js for "${architecture}" is not at hand`)
  const { layer } = await nodeLayer({
    cache,
    version: image.report.node.version,
    architecture,
    hasSymbols: false,
    env: options.env ?? process.env,
    signal: options.signal,
    onStart: () => {},
  })
  return join(await unpackedLayer(cache, layer), 'nodejs/bin/node')
}

interface BlobParts {
  dir: string
  settings: SeaSettings
  contents: AppContents
  flags: readonly string[]
}

/** Neither a snapshot nor compiled code: both are for one processor, and the file is to be the same wherever it is made. */
async function makeBlob(node: string, parts: BlobParts, options: ExecutableOptions): Promise<string> {
  const { dir, settings, contents, flags } = parts
  const config = {
    main: 'main.cjs',
    output: 'sea.blob',
    disableExperimentalSEAWarning: true,
    useSnapshot: false,
    useCodeCache: false,
    assets: { [SETTINGS_ASSET]: 'settings.json', [BYTES_ASSET]: 'contents.bin' },
    ...(flags.length > 0 ? { execArgv: flags } : {}),
  }
  await writeFile(join(dir, 'main.cjs'), BOOTSTRAP)
  await writeFile(join(dir, 'settings.json'), JSON.stringify(settings))
  await writeFile(join(dir, 'contents.bin'), contents.bytes)
  await writeFile(join(dir, 'sea.json'), JSON.stringify(config))
  const env = { PATH: (options.env ?? process.env)['PATH'] }
  await runCommand(node, ['--experimental-sea-config', 'sea.json'], { cwd: dir, env, signal: options.signal })
  return join(dir, 'sea.blob')
}

/** The program with the blob in it, written beside its place and moved there when it is whole. */
async function writeExecutable(
  program: string,
  blob: string,
  file: string,
): Promise<Pick<ExecutableResult, 'digest' | 'sizeBytes'>> {
  const temporary = `${file}.${randomUUID()}.part`
  try {
    await mkdir(dirname(file), { recursive: true })
    await copyFile(program, temporary, constants.COPYFILE_FICLONE)
    const handle = await open(temporary, 'r+')
    try {
      await inject(handle, blob, file)
      await handle.chmod(0o755)
      await handle.datasync()
    } finally {
      await handle.close()
    }
    const written = await digestOfFile(temporary)
    await rename(temporary, file)
    return written
  } catch (error) {
    await rm(temporary, { force: true })
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOSPC' || code === 'EDQUOT') throw diskFull(file, error)
    if (code === 'EISDIR' || code === 'EACCES' || code === 'ENOTDIR' || code === 'EROFS' || code === 'EEXIST')
      throw executableRefused(file, `it cannot be written there (${code})`, error)
    throw error
  }
}

const HEAD_BYTES = 64 << 10

async function inject(handle: FileHandle, blob: string, file: string): Promise<void> {
  const { size } = await handle.stat()
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
  const fuseAt = await findText(handle, size, FUSE)
  if (fuseAt === undefined) throw executableRefused(file, 'its Node.js takes no single-executable blob')
  const payloadBytes = (await stat(blob)).size
  const plan = planNote(buffer.subarray(0, bytesRead), size, { name: NOTE_NAME, payloadBytes })
  await handle.write('1', fuseAt + FUSE.length)
  await handle.write(plan.segment, 0, plan.segment.byteLength, plan.segmentAt)
  let at = plan.payloadAt
  for await (const chunk of createReadStream(blob, { highWaterMark: 1 << 20 })) {
    await handle.write(chunk as Buffer, 0, (chunk as Buffer).byteLength, at)
    at += (chunk as Buffer).byteLength
  }
  await handle.truncate(plan.sizeBytes)
  await handle.write(plan.header, 0, plan.header.byteLength, 0)
}

const CHUNK_BYTES = 4 << 20

/** Where the text is in the file, which is too large to be read whole. */
async function findText(handle: FileHandle, size: number, text: string): Promise<number | undefined> {
  const buffer = Buffer.alloc(CHUNK_BYTES)
  for (let at = 0; at < size; at += CHUNK_BYTES - text.length) {
    const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, at)
    const found = buffer.subarray(0, bytesRead).indexOf(text, 0, 'latin1')
    if (found !== -1) return at + found
  }
  return undefined
}

async function digestOfFile(path: string): Promise<{ digest: Digest; sizeBytes: number }> {
  const digester = createDigester()
  let sizeBytes = 0
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    digester.update(chunk as Buffer)
    sizeBytes += (chunk as Buffer).byteLength
  }
  return { digest: digester.digest(), sizeBytes }
}
