import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { gzipSync } from 'node:zlib'

import { createTar } from '@fairlead/oci/archive'

import { openCache } from '../layers/cache.ts'
import { contentPath } from '../npm/cache.ts'
import { installDependencies } from './install.ts'
import { loadLockfile } from './lockfile.ts'
import { createFixture, lockFiles } from './project-fixture.ts'
import type { ProjectFixture } from './project-fixture.ts'

const LOCKED = { '': { dependencies: { a: '1' } }, 'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' } }

/** A folder whose `npm` is a program of ours that runs `body`. */
async function install(fixture: ProjectFixture, body: string): Promise<{ isInstalled: boolean; messages: string[] }> {
  const { chmod } = await import('node:fs/promises')
  await fixture.write({ 'bin/npm': `#!/bin/sh\n${body}\n` })
  await chmod(join(fixture.dir, 'bin/npm'), 0o755)
  const messages: string[] = []
  const isInstalled = await installDependencies(await loadLockfile(fixture.dir), {
    cache: await openCache(join(fixture.dir, 'cache')),
    env: { PATH: `${join(fixture.dir, 'bin')}:/usr/bin:/bin`, HOME: join(fixture.dir, 'home') },
    onStart: (message) => messages.push(message),
  })
  return { isInstalled, messages }
}

describe('installDependencies', () => {
  it('does nothing when all is as locked', async () => {
    await using fixture = await createFixture({ ...lockFiles(LOCKED), 'node_modules/a/package.json': '{}' })
    assert.deepEqual(await install(fixture, 'exit 1'), { isInstalled: false, messages: [] })
  })

  const differences = [
    { name: 'nothing is installed', installed: undefined, reason: /nothing is installed/ },
    { name: 'a package is missing', installed: {}, reason: /"a" is not installed/ },
    {
      name: 'a version differs',
      installed: { 'node_modules/a': { version: '2.0.0' } },
      reason: /"a" is 2\.0\.0, locked is 1\.0\.0/,
    },
    {
      name: 'the content differs',
      installed: { 'node_modules/a': { version: '1.0.0', integrity: 'sha512-b' } },
      reason: /other content/,
    },
    {
      name: 'a folder was removed',
      installed: { 'node_modules/a': { version: '1.0.0' } },
      reason: /the folder "node_modules\/a" is not there/,
    },
  ]
  for (const { name, installed, reason } of differences) {
    it(`installs when ${name}`, async () => {
      const { 'package-lock.json': lock } = lockFiles(LOCKED)
      const record = installed ? { 'node_modules/.package-lock.json': JSON.stringify({ packages: installed }) } : {}
      await using fixture = await createFixture({ 'package-lock.json': lock ?? '', ...record })
      const { isInstalled, messages } = await install(
        fixture,
        'mkdir -p node_modules/a; cp package-lock.json node_modules/.package-lock.json',
      )
      assert.ok(isInstalled)
      assert.match(messages.join(), reason)
    })
  }

  it("unpacks what npm's cache has, without npm", async () => {
    const chunks: Uint8Array[] = []
    const content = Buffer.from('{"name":"a","version":"1.0.0"}')
    for await (const chunk of createTar([{ path: 'package/package.json', type: 'file', content }])) chunks.push(chunk)
    const tarball = gzipSync(Buffer.concat(chunks))
    const [hex, base64] = [hash('sha512', tarball), hash('sha512', tarball, 'base64')]
    const entry = { version: '1.0.0', integrity: `sha512-${base64}` }
    const { 'package-lock.json': lock } = lockFiles({ ...LOCKED, 'node_modules/a': entry })
    await using fixture = await createFixture({
      'package.json': '{"dependencies":{"a":"1"}}',
      'package-lock.json': lock ?? '',
      [contentPath('home/.npm', hex)]: tarball,
    })
    const { isInstalled, messages } = await install(fixture, 'exit 1')
    assert.ok(isInstalled)
    assert.match(messages.join(), /^unpacking 1 package\(s\) of npm's cache into .*: nothing is installed$/)
    assert.deepEqual(await readFile(join(fixture.dir, 'node_modules/a/package.json')), content)
  })

  it('does without packages for other platforms', async () => {
    const optional = { 'node_modules/b': { version: '1.0.0', optional: true, os: ['win32'] } }
    const root = { '': { dependencies: { a: '1' }, optionalDependencies: { b: '1' } } }
    const { 'package-lock.json': lock } = lockFiles({ ...LOCKED, ...root, ...optional })
    await using fixture = await createFixture({
      ...lockFiles(LOCKED),
      'node_modules/a/package.json': '{}',
      'package-lock.json': lock ?? '',
    })
    assert.equal((await install(fixture, 'exit 1')).isInstalled, false)
  })

  it('says what npm said when it fails', async () => {
    await using fixture = await createFixture({ 'package-lock.json': lockFiles(LOCKED)['package-lock.json'] ?? '' })
    await assert.rejects(install(fixture, 'echo "npm error gone" >&2; exit 1'), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'FAIRLEAD_BUILD_INSTALL')
      assert.match((error.cause as Error).message, /npm error gone/)
      return true
    })
    await assert.rejects(install(fixture, 'echo "npm error ENOSPC" >&2; exit 1'), { code: 'FAIRLEAD_BUILD_DISK_FULL' })
  })
})
