import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { LockedPackage } from '../source/lockfile.ts'
import { planTree } from './plan.ts'
import type { Host, Plan } from './plan.ts'

const HOST: Host = { os: 'linux', cpu: 'x64', libc: 'glibc', node: 'v24.21.0' }
const SUM = `sha512-${Buffer.alloc(64, 7).toString('base64')}`

/** An entry that comes from a registry. */
function locked(version: string, more: LockedPackage = {}): LockedPackage {
  return { version, resolved: `https://registry.example/x/-/x-${version}.tgz`, integrity: SUM, ...more }
}

interface Given {
  root?: LockedPackage & Record<string, unknown>
  packageJson?: Record<string, unknown>
  packages?: Readonly<Record<string, LockedPackage>>
  lockfileVersion?: number
  ignoresScripts?: boolean
  omitsResolved?: boolean
}

function plan(given: Given): Plan {
  const { root = { dependencies: { a: '^1.0.0' } }, packages = { 'node_modules/a': locked('1.2.0') } } = given
  const lock = { name: 'app', lockfileVersion: given.lockfileVersion ?? 3, packages: { '': root, ...packages } }
  const texts = { lock: JSON.stringify(lock), packageJson: JSON.stringify({ ...root, ...given.packageJson }) }
  const { ignoresScripts = false, omitsResolved = false } = given
  return planTree(texts, { host: HOST, ignoresScripts, omitsResolved })
}

function pathsOf(made: Plan): string[] {
  return made.packages.map(({ path }) => path)
}

describe('planTree', () => {
  it("takes the packages, their sums and programs, and npm's record, from the lock file", () => {
    const made = plan({ packages: { 'node_modules/a': locked('1.2.0', { bin: { a: './bin/a.js' }, dev: true }) } })
    assert.deepEqual(made.packages, [
      { path: 'node_modules/a', sha512: '07'.repeat(64), bin: [['a', 'bin/a.js']], hasInstallScript: false },
    ])
    assert.deepEqual(Object.keys((JSON.parse(made.record) as { packages: object }).packages), ['node_modules/a'])
    assert.match(made.record, /"resolved": "https:/)
  })

  it('leaves addresses out of the record where npm is told to', () => {
    assert.doesNotMatch(plan({ omitsResolved: true }).record, /resolved/)
  })

  it('leaves out optional packages for other machines, and what only they need', () => {
    const root = { optionalDependencies: { a: '1', b: '1' } }
    const packages = {
      'node_modules/a': locked('1.0.0', { optional: true, cpu: ['arm64'], dependencies: { 'a-lib': '1', both: '1' } }),
      'node_modules/a-lib': locked('1.0.0', { optional: true }),
      'node_modules/b': locked('1.0.0', { optional: true, os: ['!win32'], dependencies: { both: '1' } }),
      'node_modules/both': locked('1.0.0', { optional: true }),
    }
    const made = plan({ root, packages })
    assert.deepEqual(pathsOf(made), ['node_modules/b', 'node_modules/both'])
    assert.doesNotMatch(made.record, /a-lib/)
  })

  it('leaves out an optional package that cannot do without one for another machine', () => {
    const root = { dependencies: { keep: '1' }, optionalDependencies: { a: '1' } }
    const packages = {
      'node_modules/a': locked('1.0.0', { optional: true, dependencies: { part: '1' } }),
      'node_modules/keep': locked('1.0.0'),
      'node_modules/part': locked('1.0.0', { optional: true, libc: ['musl'] }),
    }
    assert.deepEqual(pathsOf(plan({ root, packages })), ['node_modules/keep'])
  })

  it('leaves out an optional package for another Node.js, and takes one that is needed', () => {
    const root = { dependencies: { keep: '1' }, optionalDependencies: { a: '1' } }
    const engines = { engines: { node: '>=99' } }
    const packages = {
      'node_modules/a': locked('1.0.0', { optional: true, ...engines }),
      'node_modules/keep': locked('1.0.0', engines),
    }
    assert.deepEqual(pathsOf(plan({ root, packages })), ['node_modules/keep'])
  })

  it('does without a peer that is optional and absent', () => {
    const peer = { peerDependencies: { p: '1' }, peerDependenciesMeta: { p: { optional: true } } }
    assert.deepEqual(pathsOf(plan({ packages: { 'node_modules/a': locked('1.2.0', peer) } })), ['node_modules/a'])
  })

  it('takes an alias for the package it names', () => {
    const root = { dependencies: { a: 'npm:other@^1.0.0' } }
    const made = plan({ root, packages: { 'node_modules/a': locked('1.2.0', { name: 'other' }) } })
    assert.deepEqual(pathsOf(made), ['node_modules/a'])
  })

  it('takes bundled packages as part of the one around them', () => {
    const packages = {
      'node_modules/a': locked('1.2.0', { dependencies: { b: '1' } }),
      'node_modules/a/node_modules/b': { version: '1.0.0', inBundle: true },
    }
    assert.deepEqual(
      plan({ packages }).packages.map(({ sha512 }) => sha512?.length),
      [128, undefined],
    )
  })

  const a = (more: LockedPackage): Given => ({ packages: { 'node_modules/a': locked('1.2.0', more) } })
  const left: { name: string; given: Given; reason: RegExp }[] = [
    { name: 'a lock file of version 1', given: { lockfileVersion: 1 }, reason: /another version/ },
    {
      name: 'a package.json that was changed',
      given: { packageJson: { dependencies: { a: '^2' } } },
      reason: /not as in/,
    },
    { name: 'a group that was added', given: { packageJson: { devDependencies: { b: '1' } } }, reason: /not as in/ },
    { name: 'overrides', given: { packageJson: { overrides: { a: '1' } } }, reason: /"overrides"/ },
    { name: 'workspaces', given: { packageJson: { workspaces: ['x'] } }, reason: /"workspaces"/ },
    { name: 'a script of the project', given: { packageJson: { scripts: { prepare: 'x' } } }, reason: /"prepare"/ },
    { name: 'a project for one system', given: { packageJson: { os: ['linux'] } }, reason: /"os"/ },
    { name: 'a version outside the range', given: { packages: { 'node_modules/a': locked('2.0.0') } }, reason: /\^1/ },
    { name: 'another package under the name', given: a({ name: 'other' }), reason: /is not \^1/ },
    { name: 'a dependency that is not locked', given: a({ dependencies: { b: '1' } }), reason: /not in the lock/ },
    {
      name: 'an optional one that is not locked',
      given: a({ optionalDependencies: { b: '1' } }),
      reason: /not in the lock/,
    },
    { name: 'a peer that is not locked', given: a({ peerDependencies: { b: '1' } }), reason: /not in the lock/ },
    { name: 'a git address as version', given: a({ dependencies: { a: 'github:x/y' } }), reason: /wanted as/ },
    { name: 'a tag as version', given: a({ dependencies: { a: 'latest' } }), reason: /wanted as/ },
    // The address may hold a password, and is not told.
    {
      name: 'a package from git',
      given: a({ resolved: 'git+https://ada:secret@host/x.git#1' }),
      reason: /^(?!.*secret).*comes from elsewhere than a registry$/,
    },
    { name: 'a tarball of the project', given: a({ resolved: 'file:x.tgz' }), reason: /comes from/ },
    { name: 'a link', given: a({ link: true }), reason: /is a link/ },
    { name: 'a package without SHA-512', given: a({ integrity: 'sha1-abc' }), reason: /no SHA-512/ },
    { name: 'a package with a lock file', given: a({ hasShrinkwrap: true }), reason: /lock file of its own/ },
    { name: 'a package for another machine', given: a({ os: ['win32'] }), reason: /not for this machine/ },
    { name: 'a program outside its package', given: a({ bin: { x: '../../y' } }), reason: /program "x"/ },
    { name: 'a program with a path for a name', given: a({ bin: { '../x': 'y' } }), reason: /program/ },
  ]
  for (const { name, given, reason } of left) {
    it(`leaves ${name} to npm`, () => assert.throws(() => plan(given), { name: 'LeftToNpm', message: reason }))
  }

  const places = [
    '../a',
    'node_modules/..',
    'node_modules/a/../../..',
    'node_modules/.bin',
    'packages/a',
    '/etc',
    'a\\b',
  ]
  for (const place of places) {
    it(`leaves a package at "${place}" to npm`, () => {
      const packages = { 'node_modules/a': locked('1.2.0'), [place]: locked('1.0.0') }
      assert.throws(() => plan({ packages }), { name: 'LeftToNpm', message: /lies elsewhere/ })
    })
  }

  it('leaves a package nobody needs to npm', () => {
    const packages = { 'node_modules/a': locked('1.2.0'), 'node_modules/b': locked('1.0.0') }
    assert.throws(() => plan({ packages }), { name: 'LeftToNpm', message: /nothing needs/ })
  })

  it('leaves paths that differ by case only to npm', () => {
    const packages = { 'node_modules/a': locked('1.2.0'), 'node_modules/A': locked('1.0.0') }
    const root = { dependencies: { a: '1', A: '1' } }
    assert.throws(() => plan({ root, packages }), { name: 'LeftToNpm', message: /by case only/ })
  })
})
