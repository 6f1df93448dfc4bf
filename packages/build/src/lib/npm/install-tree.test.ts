import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { lstat, readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { gzipSync } from 'node:zlib'

import { createTar } from '@fairlead/oci/archive'
import type { TarEntry } from '@fairlead/oci/archive'

import { loadLockfile } from '../source/lockfile.ts'
import type { LockedPackage } from '../source/lockfile.ts'
import { createFixture } from '../source/project-fixture.ts'
import type { ProjectFixture } from '../source/project-fixture.ts'
import { contentPath } from './cache.ts'
import { installTree } from './install-tree.ts'

interface Package {
  tar: Buffer
  entry?: LockedPackage
}

async function tarOf(entries: readonly TarEntry[]): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of createTar(entries)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function file(path: string, content: string | Buffer = '', mode = 0o644): TarEntry {
  return { path, type: 'file', content: Buffer.from(content), mode }
}

/** A tarball of a package with these files beside its package.json. */
async function packageOf(...entries: readonly TarEntry[]): Promise<Package> {
  return { tar: await tarOf([file('package/package.json', '{}'), ...entries]) }
}

/** A project that depends on packages of which npm's cache has the tarballs. */
async function createProject(packages: Readonly<Record<string, Package>>): Promise<ProjectFixture> {
  const entries: Record<string, LockedPackage> = {}
  const fixture = await createFixture({})
  for (const [name, { tar, entry }] of Object.entries(packages)) {
    const tarball = gzipSync(tar)
    const sum = createHash('sha512').update(tarball)
    const place = contentPath(join(fixture.dir, 'cache'), sum.copy().digest('hex')).slice(fixture.dir.length + 1)
    await fixture.write({ [place]: tarball })
    entries[`node_modules/${name}`] = { version: '1.0.0', integrity: `sha512-${sum.digest('base64')}`, ...entry }
  }
  const root = { name: 'app', dependencies: Object.fromEntries(Object.keys(packages).map((name) => [name, '1'])) }
  const lock = JSON.stringify({ name: 'app', lockfileVersion: 3, packages: { '': root, ...entries } })
  await fixture.write({ 'package.json': JSON.stringify(root), 'package-lock.json': lock })
  return fixture
}

async function install({ dir }: ProjectFixture, more: Record<string, string> = {}): Promise<string[]> {
  const messages: string[] = []
  const env = { HOME: dir, npm_config_cache: join(dir, 'cache'), ...more }
  await installTree(await loadLockfile(dir), { env, onStart: (message) => messages.push(message) })
  return messages
}

async function isAbsent(path: string): Promise<boolean> {
  return lstat(path).then(
    () => false,
    () => true,
  )
}

describe('installTree', () => {
  it('unpacks packages and links their programs, without npm', async () => {
    const tool = await packageOf(file('package/cli.js', '#!/usr/bin/env node\n'), file('package/lib/x.sh', '', 0o755))
    await using project = await createProject({
      '@s/tool': { ...tool, entry: { bin: { tool: 'cli.js', gone: 'absent.js' } } },
    })
    assert.deepEqual(await install(project), ["unpacking 1 package(s) of npm's cache"])
    const modules = join(project.dir, 'node_modules')
    assert.deepEqual((await readdir(modules)).toSorted(), ['.bin', '.package-lock.json', '@s'])
    assert.deepEqual(await readdir(join(modules, '.bin')), ['tool'])
    assert.equal(await readlink(join(modules, '.bin/tool')), '../@s/tool/cli.js')
    const modeOf = async (path: string): Promise<number> => (await lstat(join(modules, '@s/tool', path))).mode & 0o111
    assert.deepEqual(
      [await modeOf('cli.js'), await modeOf('lib/x.sh'), await modeOf('package.json')],
      [0o111, 0o111, 0],
    )
  })

  it('names .gitignore as npm does, and keeps .npmignore', async () => {
    const both = await packageOf(
      file('package/.npmignore', 'n'),
      file('package/.gitignore', 'g'),
      file('package/a/.gitignore', 'g'),
    )
    await using project = await createProject({ both })
    await install(project)
    const dir = join(project.dir, 'node_modules/both')
    assert.equal(await readFile(join(dir, '.npmignore'), 'utf8'), 'n')
    assert.deepEqual((await readdir(dir, { recursive: true })).toSorted(), [
      '.npmignore',
      'a',
      'a/.npmignore',
      'package.json',
    ])
  })

  it('passes over links in tarballs', async () => {
    const linked = await packageOf({ path: 'package/evil', type: 'symlink', linkPath: '../../..' })
    await using project = await createProject({ linked })
    await install(project)
    assert.ok(await isAbsent(join(project.dir, 'node_modules/linked/evil')))
  })

  it('writes a file larger than memory should hold in pieces', async () => {
    const content = Buffer.alloc(3 << 20, 'x')
    await using project = await createProject({ large: await packageOf(file('package/data', content)) })
    await install(project)
    assert.ok((await readFile(join(project.dir, 'node_modules/large/data'))).equals(content))
  })

  const climbing = async (path: string): Promise<Package> => {
    const tar = await tarOf([file('package/package.json', '{}'), file('package/__/__/__/out', 'x')])
    // The writer refuses such paths: the name is put into the header afterwards, with the sum made anew.
    const at = tar.indexOf('package/__/__/__/out')
    tar.fill(0, at, at + 100)
    tar.write(path, at)
    tar.fill(' ', at + 148, at + 156)
    const sum = tar.subarray(at, at + 512).reduce((total, byte) => total + byte, 0)
    tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148)
    return { tar }
  }
  const bomb = async (): Promise<Package> => packageOf(file('package/bomb', Buffer.alloc(40 << 20)))
  const refused: { name: string; package_: () => Promise<Package>; reason: RegExp }[] = [
    { name: 'a path that climbs out', package_: () => climbing('package/../../../out'), reason: /out/ },
    { name: 'a second folder', package_: () => packageOf(file('other/x')), reason: /more than one folder/ },
    {
      name: 'no package.json',
      package_: async () => ({ tar: await tarOf([file('package/x')]) }),
      reason: /no package.json/,
    },
    {
      name: 'names that differ by case',
      package_: () => packageOf(file('package/A'), file('package/a')),
      reason: /twice/,
    },
    {
      name: 'a file that is a folder as well',
      package_: () => packageOf(file('package/a/b'), file('package/A')),
      reason: /twice/,
    },
    {
      name: 'a file that changes who runs it',
      package_: () => packageOf(file('package/s', '', 0o4755)),
      reason: /who runs it/,
    },
    {
      name: 'packages the lock file does not have',
      package_: () => packageOf(file('package/node_modules/x/package.json', '{}')),
      reason: /differ about/,
    },
    {
      name: 'an addon without a script',
      package_: () => packageOf(file('package/binding.gyp')),
      reason: /to be built/,
    },
    {
      name: 'a program with a line of Windows',
      package_: async () => ({ ...(await packageOf(file('package/x', '#!/bin/sh\r\n'))), entry: { bin: { x: 'x' } } }),
      reason: /mended/,
    },
    {
      name: 'an install script',
      package_: async () => ({
        tar: await tarOf([file('package/package.json', '{"scripts":{"install":"x"}}')]),
        entry: { hasInstallScript: true },
      }),
      reason: /to be built/,
    },
    {
      name: 'node-gyp-build and no addon for this machine',
      package_: async () => ({
        tar: await tarOf([
          file('package/package.json', '{"scripts":{"install":"node-gyp-build"}}'),
          file('package/prebuilds/linux-x64/a.node', 'no ELF'),
        ]),
        entry: { hasInstallScript: true },
      }),
      reason: /to be built/,
    },
  ]
  for (const { name, package_, reason } of refused) {
    it(`leaves a package with ${name} to npm, and nothing behind`, async () => {
      await using project = await createProject({ good: await packageOf(), zz: await package_() })
      await assert.rejects(install(project), (error: Error) => {
        assert.match(`${error.name} ${error.message}`, reason)
        return true
      })
      assert.ok(await isAbsent(join(project.dir, 'node_modules')))
      assert.ok(await isAbsent(join(project.dir, '..', 'out')))
    })
  }

  it('unpacks what is far larger than its tarball in pieces', async () => {
    await using project = await createProject({ bomb: await bomb() })
    await install(project)
    assert.equal((await lstat(join(project.dir, 'node_modules/bomb/bomb'))).size, 40 << 20)
  })

  it('compares the SHA-512 of what the cache has', async () => {
    await using project = await createProject({ good: await packageOf() })
    const names = await readdir(join(project.dir, 'cache'), { recursive: true, withFileTypes: true })
    const found = names.find((one) => one.isFile())
    const path = join(found?.parentPath ?? '', found?.name ?? '').slice(project.dir.length + 1)
    await project.write({ [path]: gzipSync((await packageOf(file('package/evil'))).tar) })
    await assert.rejects(install(project), { name: 'LeftToNpm', message: /was changed/ })
  })

  it('leaves what was installed as it was when the cache lacks a package', async () => {
    await using project = await createProject({ good: await packageOf() })
    await project.write({ 'node_modules/old/package.json': '{}' })
    await assert.rejects(install(project, { npm_config_cache: join(project.dir, 'none') }), { name: 'LeftToNpm' })
    assert.deepEqual(await readdir(join(project.dir, 'node_modules')), ['old'])
  })

  it('leaves nothing behind when it is stopped', async () => {
    await using project = await createProject({ good: await packageOf() })
    const env = { HOME: project.dir, npm_config_cache: join(project.dir, 'cache') }
    const stop = new AbortController()
    const installing = installTree(await loadLockfile(project.dir), {
      env,
      signal: stop.signal,
      onStart: () => stop.abort(),
    })
    await assert.rejects(installing, { name: 'AbortError' })
    assert.ok(await isAbsent(join(project.dir, 'node_modules')))
  })

  it('clears away what a build that was killed left', async () => {
    await using project = await createProject({ good: await packageOf() })
    await project.write({ 'node_modules/.fairlead-install/half/x': 'x', 'node_modules/old/package.json': '{}' })
    await install(project)
    assert.deepEqual((await readdir(join(project.dir, 'node_modules'))).toSorted(), ['.package-lock.json', 'good'])
  })

  it('does without scripts where npm is told to', async () => {
    const tar = await tarOf([file('package/package.json', '{"scripts":{"install":"exit 1"}}')])
    await using project = await createProject({ scripted: { tar, entry: { hasInstallScript: true } } })
    await install(project, { npm_config_ignore_scripts: 'true' })
  })
})
