import assert from 'node:assert/strict'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { digestOf } from '@fairlead/oci'

import { dependencyClosure, loadLockfile, resolveLocked } from './lockfile.ts'
import { createFixture, lockFiles } from './project-fixture.ts'

const NPM = { manager: 'npm', name: 'package-lock.json', digest: digestOf('') } as const

const PNPM_LOCK = `lockfileVersion: '9.0'

importers:

  .:
    dependencies:
      a:
        specifier: ^1.0.0
        version: 1.2.3(b@2.0.0)

packages:

  a@1.2.3:
    resolution: {integrity: sha512-aaaa}

  b@2.0.0:
    resolution: {integrity: sha512-bbbb}
`

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

  const managers = [
    {
      name: 'a workspace of pnpm',
      files: { 'pnpm-workspace.yaml': 'packages:\n  - "services/*"\n' },
      hint: /pnpm install/,
    },
    {
      name: 'packageManager of Yarn',
      files: { 'package.json': '{"workspaces":["services/*"],"packageManager":"yarn@4.1.0"}' },
      hint: /yarn install/,
    },
    {
      name: 'bun.lock alone',
      files: { 'bun.lock': '', 'package.json': '{"workspaces":["services/*"]}' },
      hint: /npm install/,
    },
  ]
  for (const { name, files, hint } of managers) {
    it(`names the command of the package manager for ${name}`, async () => {
      await using fixture = await createFixture({
        'package.json': '{}',
        'services/web/package.json': '{}',
        ...files,
      })
      await assert.rejects(loadLockfile(join(fixture.dir, 'services/web')), (error: Error & { hint?: string }) => {
        assert.match(error.hint ?? '', hint)
        return true
      })
    })
  }

  it('takes the file of the manager that packageManager names when there are several', async () => {
    const files = { 'pnpm-lock.yaml': PNPM_LOCK, 'package-lock.json': '{"packages":{}}' }
    await using fixture = await createFixture({ 'package.json': '{"packageManager":"pnpm@10.1.0"}', ...files })
    assert.equal((await loadLockfile(fixture.dir)).manager, 'pnpm')
    await fixture.write({ 'package.json': '{}' })
    assert.equal((await loadLockfile(fixture.dir)).manager, 'npm')
  })

  it('follows the store of pnpm over its links, and tells what differs from the lock file', async () => {
    await using fixture = await createFixture({
      'package.json': '{"dependencies":{"a":"^1.0.0"}}',
      'pnpm-lock.yaml': PNPM_LOCK,
      'node_modules/.pnpm/a@1.2.3/node_modules/a/package.json':
        '{"name":"a","version":"1.2.3","dependencies":{"b":"2"}}',
      'node_modules/.pnpm/b@2.0.0/node_modules/b/package.json': '{"name":"b","version":"2.0.0"}',
    })
    assert.match((await loadLockfile(fixture.dir)).difference ?? '', /"a" is not installed/)
    await symlink('.pnpm/a@1.2.3/node_modules/a', join(fixture.dir, 'node_modules/a'))
    await symlink('../../b@2.0.0/node_modules/b', join(fixture.dir, 'node_modules/.pnpm/a@1.2.3/node_modules/b'))
    const lock = await loadLockfile(fixture.dir)
    assert.equal(lock.difference, undefined)
    const [a, b] = ['node_modules/.pnpm/a@1.2.3/node_modules/a', 'node_modules/.pnpm/b@2.0.0/node_modules/b']
    assert.equal(resolveLocked(lock, '', 'a'), a)
    assert.equal(resolveLocked(lock, a, 'b'), b)
    assert.equal(lock.packages.get(a)?.integrity, 'sha512-aaaa')
    assert.deepEqual(
      dependencyClosure(lock).filter((path) => !lock.packages.get(path)?.link),
      [a, b],
    )
    await fixture.write({ [`${a}/package.json`]: '{"name":"a","version":"1.2.4"}' })
    assert.match((await loadLockfile(fixture.dir)).difference ?? '', /a@1.2.4/)
  })

  it('refuses Plug and Play, which has no node_modules', async () => {
    const files = { 'package.json': '{}', 'yarn.lock': '# x\n\n__metadata:\n  version: 8\n' }
    await using fixture = await createFixture(files)
    await assert.rejects(loadLockfile(fixture.dir), (error: Error & { code?: string; hint?: string }) => {
      assert.equal(error.code, 'FAIRLEAD_BUILD_LOCKFILE')
      assert.match(error.hint ?? '', /nodeLinker: node-modules/)
      return true
    })
    await fixture.write({ '.yarnrc.yml': 'nodeLinker: node-modules\n' })
    assert.equal((await loadLockfile(fixture.dir)).manager, 'yarn')
  })

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
