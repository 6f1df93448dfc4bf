import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { parsePnpmLock, parseYarnLock } from './lock-text.ts'

describe('parsePnpmLock', () => {
  const lock = parsePnpmLock(`lockfileVersion: '9.0'

settings:
  autoInstallPeers: true

catalogs:
  default:
    fastify:
      specifier: 5.12.8
      version: 5.12.8

importers:

  services/api:
    dependencies:
      fastify:
        specifier: 'catalog:'
        version: 5.12.8
      react:
        specifier: npm:preact@10.1.0
        version: preact@10.1.0
      shared:
        specifier: workspace:*
        version: link:../../packages/shared

packages:

  '@fastify/error@4.2.1':
    resolution: {integrity: sha512-MYB==}

  fastify@5.12.8:
    resolution: {integrity: sha512-fff==, tarball: https://example.com/fastify.tgz}
    engines: {node: '>=20'}

  'https://codeload.example.com/a/b/tar.gz/1234':
    resolution: {tarball: https://codeload.example.com/a/b/tar.gz/1234}
    version: 1.0.0

snapshots:

  fastify@5.12.8:
    dependencies:
      '@fastify/error': 4.2.1
`)

  it('has versions with integrity, scoped ones too', () => {
    assert.deepEqual(lock?.versions.get('@fastify/error@4.2.1'), {
      version: '4.2.1',
      integrity: 'sha512-MYB==',
      resolved: undefined,
    })
    assert.equal(lock?.versions.get('fastify@5.12.8')?.resolved, 'https://example.com/fastify.tgz')
  })

  it('knows what a workspace depends on, catalogs and aliases included; links have no version', () => {
    assert.equal(lock?.versionOf('services/api', 'fastify', 'catalog:'), '5.12.8')
    assert.equal(lock?.versionOf('services/api', 'react', 'npm:preact@10.1.0'), '10.1.0')
    assert.equal(lock?.versionOf('services/api', 'shared', 'workspace:*'), undefined)
    assert.equal(lock?.hasWorkspace('services/web'), false)
  })

  it('does not read other versions of the format', () => {
    assert.equal(parsePnpmLock("lockfileVersion: '6.0'\n"), undefined)
    assert.equal(parsePnpmLock(''), undefined)
  })
})

describe('parseYarnLock', () => {
  it('reads what Yarn 1 writes', () => {
    const lock = parseYarnLock(`# yarn lockfile v1


"@a/b@^1.0.0", "@a/b@~1.1.0":
  version "1.1.4"
  resolved "https://registry.example.com/@a/b/-/b-1.1.4.tgz#abc"
  integrity sha512-bbb==

"alias@npm:real@^2.0.0":
  version "2.5.0"
  resolved "https://registry.example.com/real/-/real-2.5.0.tgz#abc"

ms@2.1.2:
  version "2.1.2"
  dependencies:
    "@a/b" "^1.0.0"
`)
    assert.equal(lock.versions.get('@a/b@1.1.4')?.integrity, 'sha512-bbb==')
    assert.equal(lock.versionOf('', '@a/b', '~1.1.0'), '1.1.4')
    assert.equal(lock.versionOf('', 'alias', 'npm:real@^2.0.0'), '2.5.0')
    assert.ok(lock.versions.has('real@2.5.0'))
  })

  it('reads what Yarn 2 and later write', () => {
    const lock = parseYarnLock(`# This file is generated

__metadata:
  version: 8
  cacheKey: 10c0

"@a/b@npm:^1.0.0, @a/b@npm:~1.1.0":
  version: 1.1.4
  resolution: "@a/b@npm:1.1.4"
  dependencies:
    ms: "npm:2.1.2"
  checksum: 10c0/abc
  languageName: node
  linkType: hard

"api@workspace:services/api":
  version: 0.0.0-use.local
  resolution: "api@workspace:services/api"
  languageName: unknown
  linkType: soft
`)
    assert.deepEqual([...lock.versions.keys()], ['@a/b@1.1.4'])
    assert.equal(lock.versionOf('services/api', '@a/b', '~1.1.0'), '1.1.4')
  })
})
