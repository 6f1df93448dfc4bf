import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'

import { decompressGzip, readTar } from '@fairlead/oci/archive'
import type { Layout } from '@fairlead/oci/layout'

import { APP_DIR } from '../bundle/locations.ts'
import { smokeTestFailed } from '../errors.ts'
import { runCommand } from '../run-command.ts'
import type { BuildCache, StoredLayer } from './cache.ts'
import { unpackedLayer } from './unpacked.ts'

/** What to start. */
export interface SmokeTestOptions {
  cache: BuildCache
  node: StoredLayer
  /** Layers with `/app`, and where their blobs are. */
  layers: readonly { layer: StoredLayer; layout: Layout }[]
  args: readonly string[]
  /** The folder of the service, for messages. */
  dir: string
  env: NodeJS.ProcessEnv
  signal?: AbortSignal | undefined
}

const WATCHED_MS = 3_000

/**
 * Starts the program as the image has it, in an empty folder with hardly an environment and with any free port: what it found in
 * the source folder alone is not there. Whoever runs for 3 s, or ends well before, passes. Throws `FAIRLEAD_BUILD_SMOKE_TEST`.
 */
export function runAlone(options: SmokeTestOptions): Promise<void> {
  return options.cache.scratch(async (dir) => {
    const node = await unpackedLayer(options.cache, options.node)
    for (const { layer, layout } of options.layers) await unpack(layout, layer, dir)
    const ended = new AbortController()
    const signal = options.signal ? AbortSignal.any([options.signal, ended.signal]) : ended.signal
    const running = runCommand(join(node, 'nodejs/bin/node'), options.args, {
      cwd: join(dir, APP_DIR),
      env: { PATH: options.env['PATH'], HOME: dir, NODE_ENV: 'production', PORT: '0' },
      signal,
      timeoutMs: 2 * WATCHED_MS,
    })
    const result = running.then(
      () => undefined,
      (error: unknown) => error,
    )
    const failure = await Promise.race([
      result,
      sleep(WATCHED_MS, undefined, { signal, ref: false }).catch(() => undefined),
    ])
    ended.abort()
    await result
    options.signal?.throwIfAborted()
    if (failure !== undefined) throw smokeTestFailed(options.dir, failure)
  })
}

async function unpack(layout: Layout, { descriptor }: StoredLayer, dir: string): Promise<void> {
  const tar = readTar(decompressGzip(createReadStream(layout.blobPath(descriptor.digest))))
  for await (const member of tar) {
    const path = join(dir, member.path)
    await mkdir(member.type === 'directory' ? path : dirname(path), { recursive: true })
    if (member.type === 'symlink') await symlink(member.linkPath, path)
    if (member.type === 'file') await pipeline(member.body, createWriteStream(path, { mode: member.mode }))
  }
}
