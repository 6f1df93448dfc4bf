import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { digestOf } from '@fairlead/oci'

import { dependencyClosure, loadLockfile, resolveLocked } from './lockfile.ts'
import { createFixture, lockFiles } from './project-fixture.ts'

const NPM = { manager: 'npm', name: 'package-lock.json', digest: digestOf('') } as const

describe('loadLockfile', () => {
  it('takes the lock file of the folder', async () => {
    await using fixture = await createFixture(lockFiles({ '': {} }))
    assert.equal((await loadLockfile(fixture.dir)).root, fixture.dir)
  })

  it('prefers npm-shrinkwrap.json, as npm does', async () => {
    const shrinkwrap = JSON.stringify({ packages: { '': {}, 'node_modules/a': { version: '1.0.0' } } })
    await using fixture = await createFixture({ ...lockFiles({ '': {} }), 'npm-shrinkwrap.json': shrinkwrap })
    assert.ok((await loadLockfile(fixture.dir)).packages.has('node_modules/a'))
  })

  it('takes the lock file of the workspace root for a workspace only', async () => {
    await using fixture = await createFixture({
      ...lockFiles({ '': {} }),
      'package.json': '{"workspaces":["services/*"]}',
      'services/web/package.json': '{}',
      'other/package.json': '{}',
    })
    const lock = await loadLockfile(join(fixture.dir, 'services/web'))
    assert.equal(lock.root, fixture.dir)
    assert.equal(lock.workspace, 'services/web')
    await assert.rejects(loadLockfile(join(fixture.dir, 'other')), { code: 'FAIRLEAD_BUILD_LOCKFILE' })
  })

  it('names the folder and the way out when there is none', async () => {
    await using fixture = await createFixture({ 'package.json': '{}' })
    await assert.rejects(loadLockfile(fixture.dir), (error: Error & { code?: string; hint?: string }) => {
      assert.equal(error.code, 'FAIRLEAD_BUILD_LOCKFILE')
      assert.ok(error.message.includes(fixture.dir))
      assert.match(error.hint ?? '', /npm install --package-lock-only/)
      return true
    })
  })

  const foreign = [
    { file: 'pnpm-lock.yaml', manager: /pnpm are not supported yet/ },
    { file: 'yarn.lock', manager: /Yarn are not supported yet/ },
  ]
  for (const { file, manager } of foreign) {
    it(`knows ${file} and says so`, async () => {
      await using fixture = await createFixture({ 'package.json': '{}', [file]: '' })
      await assert.rejects(loadLockfile(fixture.dir), { code: 'FAIRLEAD_BUILD_LOCKFILE', message: manager })
    })
  }

  it('refuses a lock file that is damaged or too old', async () => {
    await using fixture = await createFixture({ 'package-lock.json': '{' })
    await assert.rejects(loadLockfile(fixture.dir), { code: 'FAIRLEAD_BUILD_SOURCE' })
    await fixture.write({ 'package-lock.json': '{"lockfileVersion":1,"dependencies":{}}' })
    await assert.rejects(loadLockfile(fixture.dir), { code: 'FAIRLEAD_BUILD_LOCKFILE', message: /older than 7/ })
  })
})

describe('dependencyClosure', () => {
  const packages = new Map(
    Object.entries({
      '': { dependencies: { a: '1' }, devDependencies: { dev: '1' } },
      'services/web': { dependencies: { a: '1', shared: '1' } },
      'node_modules/shared': { link: true, resolved: 'packages/shared' },
      'packages/shared': { version: '1.0.0', dependencies: { b: '1' } },
      'node_modules/a': { version: '1.0.0', dependencies: { b: '2' } },
      'node_modules/a/node_modules/b': { version: '2.0.0' },
      'node_modules/b': { version: '1.0.0', optionalDependencies: { missing: '1' } },
      'node_modules/dev': { version: '1.0.0', dev: true },
    }),
  )

  it('follows dependencies as Node.js finds them, over links to workspaces', () => {
    assert.deepEqual(dependencyClosure({ ...NPM, root: '/x', workspace: 'services/web', packages }), [
      'node_modules/a',
      'node_modules/a/node_modules/b',
      'node_modules/b',
      'node_modules/shared',
      'packages/shared',
    ])
  })

  it('looks in the nearest folder first', () => {
    const lock = { ...NPM, root: '/x', workspace: '', packages }
    assert.equal(resolveLocked(lock, 'node_modules/a', 'b'), 'node_modules/a/node_modules/b')
    assert.equal(resolveLocked(lock, 'services/web', 'b'), 'node_modules/b')
    assert.equal(resolveLocked(lock, '', 'none'), undefined)
  })
})
