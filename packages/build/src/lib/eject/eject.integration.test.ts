// What is ejected is judged by programs we did not write: buildah builds it and runs the result.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cp, readFile, readdir, realpath, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import type { TarEntry } from '@fairlead/oci/archive'

import { buildImage } from '../build-image.ts'
import { commandPath, openBuildah, reasonToSkip } from './eject-fixture.ts'
import type { Buildah } from './eject-fixture.ts'
import { ejectDockerfile, writeEjected } from './eject.ts'

const LEGACY = join(import.meta.dirname, '../../../../../examples/legacy')
const PROGRAMS = ['npm', 'apt-get', 'dpkg-deb', 'buildah', 'skopeo', 'busybox']

describe('an ejected Dockerfile', { skip: reasonToSkip(PROGRAMS), timeout: 900_000 }, () => {
  let work: string
  let fixture: Buildah
  const buildah = (...args: string[]): Promise<string> => fixture.run(...args)

  before(async () => {
    fixture = await openBuildah()
    work = fixture.work
    await cp(LEGACY, join(work, 'legacy'), { recursive: true, filter: (path) => !path.includes('node_modules') })
    await makeImages()
  })
  after(() => fixture[Symbol.asyncDispose]())

  /** No registry is asked: the images below the Dockerfile are made of our base, npm and busybox. */
  async function makeImages(): Promise<void> {
    const { layout } = fixture
    const dir = join(work, 'legacy')
    const { reference } = await buildImage({
      dir,
      name: 'test/legacy',
      layout,
      cacheDir: join(work, 'cache'),
      base: 'debian',
    })
    const image = (await layout.resolve(reference)) ?? assert.fail()
    await fixture.addImage('runtime', image, { kept: 2 })
    await fixture.addImage('builder', image, { kept: 2, entries: await builderEntries() })
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
