import { execFile, execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { digestOf, mediaTypes } from '@fairlead/oci'
import type { TarEntry } from '@fairlead/oci/archive'
import { openLayout } from '@fairlead/oci/layout'
import type { Layout, ResolvedImage } from '@fairlead/oci/layout'

import { writeLayer } from '../layers/layer.ts'

/** buildah with a storage of its own, which asks no registry: what it builds upon is put there. */
export interface Buildah extends AsyncDisposable {
  work: string
  layout: Layout
  /** Runs buildah; answers what it printed. */
  run(...args: string[]): Promise<string>
  /** Puts the lowest `kept` layers of an image there as `localhost/<name>`, with one more of `entries`. */
  addImage(name: string, from: ResolvedImage, options: AddOptions): Promise<void>
}

interface AddOptions {
  kept: number
  entries?: readonly TarEntry[]
}

/** Why tests with it cannot run; on a machine of the project's own that is a failure. */
export function reasonToSkip(programs: readonly string[]): string | false {
  const missing = programs.filter((name) => commandPath(name) === '')
  const reason = process.getuid?.() !== 0 ? 'not root' : missing.length > 0 && `not installed: ${missing.join(', ')}`
  if (reason && process.env['CI'] === 'true') throw new Error(`Cannot skip in CI: ${reason}`)
  return reason
}

export function commandPath(name: string): string {
  return execFileSync('sh', ['-c', `command -v ${name} || true`])
    .toString()
    .trim()
}

export async function openBuildah(): Promise<Buildah> {
  const work = await mkdtemp(join(tmpdir(), 'fairlead-eject-'))
  await mkdir(join(work, 'tmp'))
  const [root, runRoot] = [join(work, 'root'), join(work, 'run')]
  const storage = ['--root', root, '--runroot', runRoot, '--storage-driver', 'vfs']
  const env = { ...process.env, BUILDAH_ISOLATION: 'chroot', TMPDIR: join(work, 'tmp') }
  const layout = await openLayout(join(work, 'images'))
  const run = async (...args: string[]): Promise<string> => {
    const { stdout } = await promisify(execFile)('buildah', [...storage, ...args], { env, maxBuffer: 64 << 20 })
    return stdout.trim()
  }
  return {
    work,
    layout,
    run,
    async addImage(name, from, options) {
      await writeImage(layout, name, from, options)
      const target = `containers-storage:[vfs@${root}+${runRoot}]localhost/${name}`
      await promisify(execFile)('skopeo', [
        'copy',
        '--quiet',
        `oci:${join(work, 'images')}:localhost/${name}:latest`,
        target,
      ])
    },
    async [Symbol.asyncDispose]() {
      // Whatever a container of buildah may still have mounted.
      await run('umount', '--all').catch(() => {})
      await rm(work, { recursive: true, force: true })
    },
  }
}

async function writeImage(
  layout: Layout,
  name: string,
  from: ResolvedImage,
  { kept, entries = [] }: AddOptions,
): Promise<void> {
  const added = entries.length > 0 ? [await writeLayer(layout, entries, { level: 1 })] : []
  const layers = [...from.manifest.layers.slice(0, kept), ...added.map(({ descriptor }) => descriptor)]
  const diffIds = [...from.config.rootfs.diff_ids.slice(0, kept), ...added.map(({ diffId }) => diffId)]
  const { os, architecture } = from.config
  const run = { Env: ['PATH=/nodejs/bin:/usr/local/bin:/usr/bin:/bin'], User: entries.length > 0 ? '0' : '65532' }
  const config = Buffer.from(
    JSON.stringify({ os, architecture, config: run, rootfs: { type: 'layers', diff_ids: diffIds } }),
  )
  await layout.writeBlob(config)
  const descriptor = await layout.writeJson(mediaTypes.manifest, {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, digest: digestOf(config), size: config.byteLength },
    layers,
  })
  await layout.tag(`localhost/${name}:latest`, descriptor)
}
