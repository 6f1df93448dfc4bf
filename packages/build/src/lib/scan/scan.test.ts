import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { crc32, deflateRawSync } from 'node:zlib'

import { AdvisoryDatabase } from './database/database.ts'
import { databaseStatus, importAdvisories } from './database/import.ts'
import { parseIgnoreList } from './ignore.ts'
import { nodeComponent, npmComponent, systemComponent } from './inventory/component.ts'
import type { Component } from './inventory/component.ts'
import { renderCycloneDxVex } from './render/cyclonedx.ts'
import { renderOpenVex } from './render/openvex.ts'
import { renderSarif } from './render/sarif.ts'
import { findingsFrom, scanInventory } from './scan.ts'
import type { ScanOptions, ScanReport } from './scan.ts'
import { parseVex } from './vex.ts'

const fixtures = fileURLToPath(new URL('./testdata/osv', import.meta.url))
const now = new Date('2026-11-20T12:00:00Z')
const root = mkdtempSync(join(tmpdir(), 'fairlead-scan-'))
after(() => rmSync(root, { recursive: true }))
const folder = (): string => mkdtempSync(join(root, 'x-'))
const bookworm = { id: 'debian', versionId: '12' }

/** A zip archive as tools write it; `announced` lies about the size. */
function zip(files: Readonly<Record<string, string | Buffer>>, announced?: number): Buffer {
  const parts: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const [name, text] of Object.entries(files)) {
    const content = Buffer.from(text)
    const packed = deflateRawSync(content)
    const local = Buffer.alloc(30)
    local.writeUInt32LE(0x04034b50, 0)
    local.writeUInt16LE(8, 8)
    local.writeUInt16LE(name.length, 26)
    const central = Buffer.alloc(46)
    central.writeUInt32LE(0x02014b50, 0)
    central.writeUInt16LE(8, 10)
    central.writeUInt32LE(crc32(content), 16)
    central.writeUInt32LE(packed.byteLength, 20)
    central.writeUInt32LE(announced ?? content.byteLength, 24)
    central.writeUInt16LE(name.length, 28)
    central.writeUInt32LE(offset, 42)
    parts.push(local, Buffer.from(name), packed)
    directory.push(central, Buffer.from(name))
    offset += 30 + name.length + packed.byteLength
  }
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(Object.keys(files).length, 10)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...parts, ...directory, end])
}

function npmFiles(): Record<string, string> {
  const dir = join(fixtures, 'npm')
  return Object.fromEntries(readdirSync(dir).map((name) => [name, readFileSync(join(dir, name), 'utf8')]))
}

async function database(): Promise<string> {
  const path = join(folder(), 'osv.db')
  await importAdvisories(fixtures, { path, now })
  return path
}

async function scan(components: readonly Component[], options: Partial<ScanOptions> = {}): Promise<ScanReport> {
  return scanInventory(
    { components, unknown: [] },
    { database: options.database ?? (await database()), subject: 'localhost/shop/web:1', now, ...options },
  )
}

const ids = (report: ScanReport): string[] => report.findings.map(({ id }) => id)

describe('importAdvisories', () => {
  it('reads a folder in any depth and tells what is in the database', async () => {
    const status = await databaseStatus(await database())
    assert.deepEqual(
      status.ecosystems.map(({ ecosystem, advisories, newest }) => `${ecosystem} ${advisories} ${newest}`),
      [
        'Alpine:v3.20 1 2026-11-14T00:00:00.000Z',
        'Debian:12 1 2026-11-15T00:00:00.000Z',
        'npm 4 2026-11-19T00:00:00.000Z',
      ],
    )
    assert.equal(status.advisories, 6)
  })

  it('takes only what changed, and drops what a whole set has no more', async () => {
    const dir = folder()
    mkdirSync(join(dir, 'npm'))
    const archive = join(dir, 'npm', 'all.zip')
    const path = join(dir, 'osv.db')
    const files = npmFiles()
    writeFileSync(archive, zip(files))
    const { added, unchanged } = await importAdvisories(archive, { path, now })
    assert.deepEqual([added, unchanged], [4, 0])
    delete files['MAL-2026-90002.json']
    files['CVE-2026-90001.json'] = (files['CVE-2026-90001.json'] ?? '').replace('2026-11-18T10', '2026-11-20T10')
    writeFileSync(archive, zip(files))
    const second = await importAdvisories(archive, { path, now })
    assert.deepEqual([second.added, second.updated, second.unchanged, second.removed], [0, 1, 2, 1])
    using db = new AdvisoryDatabase(path)
    assert.deepEqual(db.find('npm', 'acme-colours'), [])
  })

  it('reads an archive whose directory is larger than what is read at once', async () => {
    const dir = folder()
    const affected = [{ package: { ecosystem: 'npm', name: 'a' }, versions: ['1.0.0'] }]
    const names = Array.from({ length: 20_000 }, (_, index) => `GHSA-0000-0000-${index}`)
    const texts = names.map((id) => [`${id}.json`, JSON.stringify({ id, modified: now, affected })])
    const archive = join(dir, 'all.zip')
    writeFileSync(archive, zip(Object.fromEntries(texts) as Record<string, string>))
    assert.equal((await importAdvisories(archive, { path: join(dir, 'osv.db'), now })).added, names.length)
  })

  it('fetches an archive, and says when it cannot', async () => {
    const server = createServer((request, response) => {
      response.statusCode = request.url === '/npm/all.zip' ? 200 : 503
      response.end(zip(npmFiles()))
    })
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    const { port } = server.address() as AddressInfo
    try {
      const path = join(folder(), 'osv.db')
      assert.equal((await importAdvisories(`http://127.0.0.1:${port}/npm/all.zip`, { path, now })).added, 4)
      const other = `http://user:hidden@127.0.0.1:${port}/other/all.zip`
      await assert.rejects(importAdvisories(other, { path, now }), (error: Error) => {
        assert.equal((error as { code?: string }).code, 'FAIRLEAD_BUILD_SCAN_SOURCE')
        return !error.message.includes('hidden')
      })
      assert.deepEqual(readdirSync(join(path, '..')).toSorted(), ['osv.db'])
    } finally {
      server.close()
      server.closeAllConnections()
    }
  })

  const refused: {
    name: string
    content: () => Buffer
    limits?: { maxEntryBytes?: number; maxTotalBytes?: number }
  }[] = [
    { name: 'something else', content: () => Buffer.from('no zip') },
    { name: 'a cut archive', content: () => zip(npmFiles()).subarray(200) },
    { name: 'a bomb that lies about its size', content: () => zip({ 'a.json': Buffer.alloc(1 << 20) }, 100) },
    {
      name: 'a large entry',
      content: () => zip({ 'a.json': Buffer.alloc(2 << 10) }),
      limits: { maxEntryBytes: 1 << 10 },
    },
    {
      name: 'too much in all',
      content: () => zip({ 'a.json': '{}', 'b.json': Buffer.alloc(2 << 10) }),
      limits: { maxTotalBytes: 1 << 10 },
    },
    { name: 'an archive without advisories', content: () => zip({ 'a.json': '{}' }) },
    { name: 'broken JSON', content: () => zip({ 'a.json': '{' }) },
  ]
  for (const { name, content, limits } of refused) {
    it(`refuses ${name}, and the database stays as it was`, async () => {
      const path = await database()
      const archive = join(folder(), 'all.zip')
      writeFileSync(archive, content())
      const before = readFileSync(path)
      await assert.rejects(importAdvisories(archive, { path, now, limits }), { code: 'FAIRLEAD_BUILD_SCAN_SOURCE' })
      assert.deepEqual(readFileSync(path), before)
      assert.deepEqual(readdirSync(join(path, '..')), ['osv.db'])
    })
  }

  it('refuses to overwrite a file that is no database', async () => {
    const path = join(folder(), 'osv.db')
    writeFileSync(path, 'my thesis')
    await assert.rejects(importAdvisories(fixtures, { path }), { code: 'FAIRLEAD_BUILD_SCAN_DATABASE' })
    assert.equal(readFileSync(path, 'utf8'), 'my thesis')
  })

  it("reads the list of Node.js's own security group", async () => {
    const dir = folder()
    const record = {
      cve: ['CVE-2026-90030'],
      vulnerable: '20.x || 22.x || >=24.0.0 <24.20.1',
      patched: '^20.19.9 || ^22.22.1 || ^24.20.1',
      overview: 'Made up',
      severity: 'high',
    }
    writeFileSync(join(dir, 'index.json'), JSON.stringify({ 1: record }))
    const path = join(dir, 'osv.db')
    await importAdvisories(dir, { path, now })
    for (const [version, expected] of [
      ['20.19.8', '20.19.9'],
      ['22.22.1', undefined],
      ['24.20.0', '24.20.1'],
      ['24.21.0', undefined],
      ['26.1.0', undefined],
    ] as const) {
      const report = await scan([nodeComponent(version)], { database: path })
      assert.equal(report.findings[0]?.fixed, expected, version)
      assert.equal(report.findings.length, expected === undefined ? 0 : 1, version)
    }
  })
})

describe('scanInventory', () => {
  it('finds npm packages by range and by version, once per vulnerability, the worst first', async () => {
    const report = await scan([
      npmComponent('@acme/files', '2.0.5'),
      npmComponent('@acme/files', '2.1.1'),
      npmComponent('acme-colours', '6.6.6'),
      npmComponent('fastify', '5.0.0'),
    ])
    assert.deepEqual(
      report.findings.map(({ id, severity, component, fixed }) => [id, severity, component.version, fixed]),
      [
        ['MAL-2026-90002', 'critical', '6.6.6', undefined],
        ['CVE-2026-90001', 'high', '2.0.5', '2.1.1'],
      ],
    )
    assert.deepEqual(
      report.findings[1]?.aliases,
      ['GHSA-2222-3333-4444', 'CVE-2026-90001'].filter((id) => id !== 'CVE-2026-90001'),
    )
    assert.deepEqual(report.notChecked, [])
  })

  it('finds Debian packages by the source package and its version', async () => {
    const libc = (version: string): Component => systemComponent({ name: 'libc6', version, source: 'glibc' }, bookworm)
    assert.deepEqual(ids(await scan([libc('2.36-9+deb12u4')])), ['DSA-9001-1'])
    assert.deepEqual(ids(await scan([libc('2.36-9+deb12u13')])), [])
    const own = systemComponent({ name: 'libc6', version: '9', source: 'glibc (2.36-9)' }, bookworm)
    assert.deepEqual(ids(await scan([own])), ['DSA-9001-1'])
  })

  it('finds Alpine packages of the same release', async () => {
    const of = (versionId: string): Component =>
      systemComponent({ name: 'libssl3', version: '3.3.2-r0', source: 'openssl' }, { id: 'alpine', versionId })
    const report = await scan([of('3.20.3')])
    assert.deepEqual([report.findings[0]?.severity, report.findings[0]?.score], ['high', 7.7])
    const other = await scan([of('3.21.0')])
    assert.deepEqual(other.findings, [])
    assert.deepEqual(other.notChecked, ['Alpine:v3.21 (1 component): the database has no advisories of it'])
  })

  it('says what was not checked: no database, no such ecosystem, old data, unknown parts', async () => {
    const component = npmComponent('fastify', '5.0.0')
    const absent = await scan([component], { database: join(folder(), 'none.db') })
    assert.match(absent.notChecked.join(), /^everything: there is no advisory database/)
    const node = await scan([nodeComponent('24.21.0')])
    assert.deepEqual(node.notChecked, ['Node.js (1 component): the database has no advisories of it'])
    const old = await scan([component], { now: new Date('2027-01-01T00:00:00Z') })
    assert.deepEqual(old.notChecked, ['npm since 2026-11-19: its advisories are 43 days old'])
    const versions = await scan([npmComponent('@acme/files', 'newest')])
    assert.match(versions.notChecked.join(), /the versions cannot be compared/)
  })

  it('counts findings from a severity on, without the excused ones', async () => {
    const locked = { ...npmComponent('acme-colours', '6.6.6'), presence: 'locked' as const }
    const report = await scan([npmComponent('@acme/files', '2.0.5'), locked])
    assert.deepEqual(
      findingsFrom(report, 'medium').map(({ id }) => id),
      ['CVE-2026-90001'],
    )
    assert.deepEqual(findingsFrom(report, 'critical'), [])
    assert.equal(report.findings[0]?.excused?.justification, 'component_not_present')
  })
})

describe('parseIgnoreList', () => {
  const text = (expires: string, rest = ''): string =>
    `ignore:\n  - id: CVE-2026-90001\n    reason: only local files are read\n    expires: ${expires}\n${rest}`

  it('excuses a finding by id or alias until its day', async () => {
    const ignore = parseIgnoreList('x.yaml', text('2026-11-20', '    package: "@acme/files"\n'), now)
    const report = await scan([npmComponent('@acme/files', '2.0.5')], { ignore })
    assert.deepEqual(report.findings[0]?.excused, {
      by: 'ignore',
      reason: 'only local files are read',
      expires: '2026-11-20',
    })
    assert.deepEqual(findingsFrom(report, 'low'), [])
  })

  it('tells of entries that excuse nothing', async () => {
    const ignore = parseIgnoreList('x.yaml', text('2027-01-01'), now)
    assert.match(
      (await scan([npmComponent('fastify', '5.0.0')], { ignore })).warnings.join(),
      /nothing is found under "CVE-2026-90001"/,
    )
  })

  const bad = [
    { name: 'an entry that has expired', text: text('2026-11-19'), message: /expired: CVE-2026-90001 on 2026-11-19/ },
    { name: 'no reason', text: 'ignore: [{id: A, expires: 2027-01-01}]', message: /no "reason"/ },
    { name: 'no end', text: 'ignore: [{id: A, reason: b}]', message: /no day "expires"/ },
    { name: 'no list', text: 'A: b', message: /no list "ignore"/ },
    { name: 'no YAML', text: '{', message: /neither YAML nor JSON/ },
  ]
  for (const row of bad) {
    it(`refuses ${row.name}`, () => {
      assert.throws(() => parseIgnoreList('x.yaml', row.text, now), {
        code: 'FAIRLEAD_BUILD_SCAN_IGNORE',
        message: row.message,
      })
    })
  }
})

describe('documents', () => {
  it('OpenVEX that is written excuses when read again, apart from what is only ignored', async () => {
    const locked = { ...npmComponent('acme-colours', '6.6.6'), presence: 'locked' as const }
    const files = npmComponent('@acme/files', '2.0.5')
    const first = await scan([locked, files])
    const text = renderOpenVex(first)
    const document = JSON.parse(text) as {
      statements: { status: string; action_statement?: string; justification?: string }[]
    }
    assert.deepEqual(
      document.statements.map(({ status, justification, action_statement: action }) => [
        status,
        justification ?? action,
      ]),
      [
        ['not_affected', 'component_not_present'],
        ['affected', 'Update @acme/files to 2.1.1'],
      ],
    )
    const vex = parseVex('vex.json', text)
    const again = await scan([npmComponent('acme-colours', '6.6.6'), files], { vex })
    assert.deepEqual(
      findingsFrom(again, 'unknown').map(({ id }) => id),
      ['CVE-2026-90001'],
    )
    assert.equal(again.findings[0]?.excused?.by, 'vex')
  })

  it('OpenVEX of others is understood: product as package URL, with and without version', async () => {
    for (const id of ['pkg:npm/%40acme/files@2.0.5', 'pkg:npm/@acme/files', 'localhost/shop/web:1']) {
      const statement = {
        vulnerability: { name: 'CVE-2026-90001' },
        products: [{ '@id': id }],
        status: 'not_affected',
        justification: 'vulnerable_code_not_in_execute_path',
      }
      const vex = parseVex(
        'v',
        JSON.stringify({ '@context': 'https://openvex.dev/ns/v0.2.0', statements: [statement] }),
      )
      const report = await scan([npmComponent('@acme/files', '2.0.5')], { vex })
      assert.equal(report.findings[0]?.excused?.justification, 'vulnerable_code_not_in_execute_path', id)
    }
    assert.throws(() => parseVex('v', '{}'), { code: 'FAIRLEAD_BUILD_SCAN_VEX' })
  })

  it('SARIF and CycloneDX name finding, way out and what was not checked', async () => {
    const report = await scan([
      npmComponent('@acme/files', '2.0.5', 'node_modules/@acme/files'),
      nodeComponent('24.21.0'),
    ])
    const sarif = JSON.parse(renderSarif(report)) as {
      runs: { results: { ruleId: string; level: string }[]; invocations: { toolExecutionNotifications: unknown[] }[] }[]
    }
    assert.deepEqual([sarif.runs[0]?.results[0]?.ruleId, sarif.runs[0]?.results[0]?.level], ['CVE-2026-90001', 'error'])
    assert.equal(sarif.runs[0]?.invocations[0]?.toolExecutionNotifications.length, 1)
    const bom = JSON.parse(renderCycloneDxVex(report)) as {
      vulnerabilities: { ratings: unknown[]; analysis: { state: string } }[]
      metadata: { properties: unknown[] }
    }
    assert.equal(bom.vulnerabilities[0]?.analysis.state, 'in_triage')
    assert.equal(bom.metadata.properties.length, 1)
  })
})
