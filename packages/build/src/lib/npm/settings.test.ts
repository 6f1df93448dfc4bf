import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { createFixture } from '../source/project-fixture.ts'
import { loadNpmSettings } from './settings.ts'
import type { NpmSettings } from './settings.ts'

/** Settings of a project whose files are `files`, with the user's home beside it. */
async function load(files: Record<string, string>, env: Record<string, string> = {}): Promise<NpmSettings> {
  await using fixture = await createFixture({ 'project/package.json': '{}', ...files })
  const own = { HOME: join(fixture.dir, 'home'), PATH: join(fixture.dir, 'prefix/bin'), ...env }
  const settings = await loadNpmSettings(join(fixture.dir, 'project'), own)
  return { ...settings, cacheDir: settings.cacheDir.replace(fixture.dir, '') }
}

describe('loadNpmSettings', () => {
  it('finds the cache where npm has it', async () => {
    assert.deepEqual(await load({}), { cacheDir: '/home/.npm', ignoresScripts: false, omitsResolved: false })
  })

  const caches = [
    { name: 'the user', files: { 'home/.npmrc': 'cache = ~/c\n' }, env: {}, cacheDir: '/home/c' },
    {
      name: 'the project, before the user',
      files: { 'home/.npmrc': 'cache=/u', 'project/.npmrc': 'cache="/p"' },
      env: {},
      cacheDir: '/p',
    },
    {
      name: 'the environment, before both',
      files: { 'project/.npmrc': 'cache=/p' },
      env: { NPM_CONFIG_CACHE: '/e' },
      cacheDir: '/e',
    },
    {
      name: 'the machine',
      files: { 'prefix/bin/node': '', 'prefix/etc/npmrc': '; ours\ncache=/m' },
      env: {},
      cacheDir: '/m',
    },
    { name: 'npm itself', files: { 'prefix/bin/npm': '', 'prefix/npmrc': 'cache=/n' }, env: {}, cacheDir: '/n' },
  ]
  for (const { name, files, env, cacheDir } of caches) {
    it(`takes the cache that is set by ${name}`, async () => assert.equal((await load(files, env)).cacheDir, cacheDir))
  }

  it('passes over registries, credentials and what concerns messages', async () => {
    const text = 'registry=https://r/\n@s:registry=https://s/\n//r/:_authToken=x\nfund=false\nsave-exact'
    assert.equal((await load({ 'project/.npmrc': text })).ignoresScripts, false)
  })

  it('tells when scripts do not run', async () => {
    assert.equal((await load({}, { npm_config_ignore_scripts: 'true' })).ignoresScripts, true)
  })

  const others = [
    'legacy-peer-deps=true',
    'omit=dev',
    'install-strategy=nested',
    'bin-links=false',
    'umask=77',
    'os=win32',
    '[a]',
    'x[]=1',
  ]
  for (const line of others) {
    it(`leaves it to npm where its configuration has "${line}"`, () =>
      assert.rejects(load({ 'home/.npmrc': line }), { name: 'LeftToNpm', message: /configuration sets/ }))
  }

  it('leaves a cache that lies nobody knows where to npm', () =>
    assert.rejects(load({ 'home/.npmrc': 'cache=${X}/c' }), { name: 'LeftToNpm' }))
})
