// What is ejected is judged by programs we did not write: buildah builds it and runs the result.
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, readdir, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'

import { digestOf, mediaTypes } from '@fairlead/oci'
import type { TarEntry } from '@fairlead/oci/archive'
import { openLayout } from '@fairlead/oci/layout'
import type { ResolvedImage } from '@fairlead/oci/layout'

import { buildImage } from '../build-image.ts'
import { writeLayer } from '../layers/layer.ts'
import { ejectDockerfile, writeEjected } from './eject.ts'

const LEGACY = join(import.meta.dirname, '../../../../../examples/legacy')
const PROGRAMS = ['npm', 'apt-get', 'dpkg-deb', 'buildah', 'skopeo', 'busybox']

function reasonToSkip(): string | false {
  const missing = PROGRAMS.filter((name) => commandPath(name) === '')
  const reason = process.getuid?.() !== 0 ? 'not root' : missing.length > 0 && `not installed: ${missing.join(', ')}`
  if (reason && process.env['CI'] === 'true') throw new Error(`Cannot skip in CI: ${reason}`)
  return reason
}

function commandPath(name: string): string {
  return execFileSync('sh', ['-c', `command -v ${name} || true`])
    .toString()
    .trim()
}

describe('an ejected Dockerfile', { skip: reasonToSkip(), timeout: 300_000 }, () => {
  let work: string
  let storage: readonly string[]

  const buildah = async (...args: string[]): Promise<string> => {
    const env = { ...process.env, BUILDAH_ISOLATION: 'chroot', TMPDIR: join(work, 'tmp') }
    const { stdout } = await promisify(execFile)('buildah', [...storage, ...args], { env, maxBuffer: 64 << 20 })
    return stdout.trim()
  }

  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'fairlead-eject-'))
    await mkdir(join(work, 'tmp'))
    storage = ['--root', join(work, 'root'), '--runroot', join(work, 'run'), '--storage-driver', 'vfs']
    await cp(LEGACY, join(work, 'legacy'), { recursive: true, filter: (path) => !path.includes('node_modules') })
    await makeImages()
  })
  after(async () => {
    // Whatever a container of buildah may still have mounted.
    await buildah('umount', '--all').catch(() => {})
    await rm(work, { recursive: true, force: true })
  })

  /** No registry is asked: the images below the Dockerfile are made of our base, npm and busybox. */
  async function makeImages(): Promise<void> {
    const layout = await openLayout(join(work, 'images'))
    const { reference } = await buildImage({
      dir: join(work, 'legacy'),
      name: 'test/legacy',
      layout,
      cacheDir: join(work, 'cache'),
      base: 'debian',
    })
    const image = (await layout.resolve(reference)) ?? assert.fail()
    await writeImage(image, 2, [], 'runtime')
    await writeImage(image, 2, await builderEntries(), 'builder')
    for (const name of ['runtime', 'builder']) {
      const target = `containers-storage:[vfs@${join(work, 'root')}+${join(work, 'run')}]localhost/${name}`
      await promisify(execFile)('skopeo', [
        'copy',
        '--quiet',
        `oci:${join(work, 'images')}:localhost/${name}:latest`,
        target,
      ])
    }

    /** The lowest layers of `from`, with one more of `entries`. */
    async function writeImage(from: ResolvedImage, kept: number, entries: TarEntry[], name: string): Promise<void> {
      const added = entries.length > 0 ? [await writeLayer(layout, entries, { level: 1 })] : []
      const layers = [...from.manifest.layers.slice(0, kept), ...added.map(({ descriptor }) => descriptor)]
      const diffIds = [...from.config.rootfs.diff_ids.slice(0, kept), ...added.map(({ diffId }) => diffId)]
      const { os, architecture } = from.config
      const run = { Env: ['PATH=/nodejs/bin:/usr/bin:/bin'], User: entries.length > 0 ? '0' : '65532' }
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
  }

  /** npm as it is installed here, and a shell. */
  async function builderEntries(): Promise<TarEntry[]> {
    const npm = dirname(dirname(await realpath(commandPath('npm'))))
    const names = await readdir(npm, { recursive: true, withFileTypes: true })
    const files = names.filter((entry) => entry.isFile() && !/\/(docs|man)(\/|$)/.test(entry.parentPath))
    const modules = files.map(async (entry): Promise<TarEntry> => {
      const path = join(entry.parentPath, entry.name)
      return { path: `opt/npm${path.slice(npm.length)}`, type: 'file', content: await readFile(path) }
    })
    const applets = ['sh', 'mkdir', 'rm', 'uname', 'env'].map((name): TarEntry => ({
      path: `usr/bin/${name}`,
      type: 'symlink',
      linkPath: 'busybox',
    }))
    const npmScript = '#!/usr/bin/sh\nexec /nodejs/bin/node /opt/npm/bin/npm-cli.js "$@"\n'
    return [
      ...(await Promise.all(modules)),
      { path: 'usr/bin/busybox', type: 'file', mode: 0o755, content: await readFile(commandPath('busybox')) },
      { path: 'usr/bin/npm', type: 'file', mode: 0o755, content: Buffer.from(npmScript) },
      { path: 'bin', type: 'symlink', linkPath: 'usr/bin' },
      ...applets,
    ]
  }

  it('builds with buildah, and runs as nobody in particular', async () => {
    const { files } = await ejectDockerfile(join(work, 'legacy'), { nodeVersion: '24.21.0' })
    await writeEjected(files, { isForced: false })
    // The network is not asked either: what the image above was built of is in npm's cache.
    const npmConfig = (key: string): string =>
      execFileSync('npm', ['config', 'get', key], { cwd: work }).toString().trim()
    const secret = join(work, 'npmrc')
    await writeFile(secret, `offline=true\ncache=/npm-cache\nregistry=${npmConfig('registry')}\n`)
    await buildah(
      'build',
      '--build-arg',
      'BUILD_IMAGE=localhost/builder',
      '--build-arg',
      'RUNTIME_IMAGE=localhost/runtime',
      '--build-arg',
      'VERSION=9.8.7',
      '--build-arg',
      'REVISION=abc',
      '--secret',
      `id=npmrc,src=${secret}`,
      '--volume',
      `${npmConfig('cache')}:/npm-cache`,
      '--format',
      'docker',
      '--pull=never',
      '--tag',
      'localhost/legacy',
      join(work, 'legacy'),
    )
    const inspected = JSON.parse(await buildah('inspect', '--type', 'image', 'localhost/legacy'))
    const { config } = inspected.Docker
    assert.equal(config.User, '65532:65532')
    assert.equal(config.Labels['org.opencontainers.image.version'], '9.8.7')
    assert.equal(config.Healthcheck.Test[0], 'CMD')
    assert.ok(config.Env.includes('FAIRLEAD_COMMIT=abc'))
    const container = await buildah('from', '--pull-never', 'localhost/legacy')
    const run = (...command: string[]): Promise<string> =>
      buildah('run', '--isolation', 'chroot', container, '--', ...command)
    const program = `const app = require('express'); require('bcrypt'); console.log(typeof app, process.getuid(), require('fs').readdirSync('.').join())`
    assert.match(
      await run('/nodejs/bin/node', '-e', program),
      /^function 65532 node_modules,package-lock.json,package.json,public,server.js,src,test$/,
    )
    await buildah('rm', container)
  })
})
