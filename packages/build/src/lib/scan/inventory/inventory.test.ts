import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'

import { mediaTypes } from '@fairlead/oci'
import type { ResolvedImage, Layout } from '@fairlead/oci/layout'
import { openLayout } from '@fairlead/oci/layout'

import { writeLayer } from '../../layers/layer.ts'
import { inventoryOfFolder } from './folder.ts'
import { inventoryOfImage } from './image.ts'
import { packagesIn } from './sbom.ts'

const root = mkdtempSync(join(tmpdir(), 'fairlead-inventory-'))
after(() => rmSync(root, { recursive: true }))

type Files = Readonly<Record<string, string | Buffer>>

async function image(
  layers: readonly Files[],
  createdBy = 'somebody',
): Promise<{ layout: Layout; image: ResolvedImage }> {
  const layout = await openLayout(mkdtempSync(join(root, 'x-')))
  const stored = []
  for (const files of layers) {
    const entries = Object.entries(files).map(([path, text]) => ({
      path,
      type: 'file' as const,
      content: Buffer.from(text),
    }))
    stored.push(await writeLayer(layout, entries))
  }
  const config = {
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers' as const, diff_ids: stored.map(({ diffId }) => diffId) },
    history: [{ created_by: createdBy }],
  }
  const manifest = {
    schemaVersion: 2 as const,
    mediaType: mediaTypes.manifest,
    config: await layout.writeJson(mediaTypes.config, config),
    layers: stored.map(({ descriptor }) => descriptor),
  }
  const descriptor = await layout.writeJson(mediaTypes.manifest, manifest)
  await layout.tag('localhost/shop/web:1', descriptor)
  return { layout, image: { descriptor, manifest, config } }
}

const debian = 'ID=debian\nVERSION_ID="12"\n'
const libc = 'Package: libc6\nSource: glibc\nVersion: 2.36-9\nArchitecture: amd64\n'

describe('inventoryOfImage', () => {
  it('reads dpkg, npm and Node.js, and forgets what higher layers remove or replace', async () => {
    const binary = Buffer.alloc(300_000, 1)
    binary.write('node.js/v24.21.0 ', 65_530)
    const { layout, image: found } = await image([
      {
        'usr/lib/os-release': debian,
        'var/lib/dpkg/status.d/libc6': libc,
        'var/lib/dpkg/status.d/libc6.md5sums': 'Package: no\nVersion: no\n',
        'var/lib/dpkg/status.d/gone': libc.replace('libc6', 'gone'),
        'app/node_modules/old/package.json': '{"name":"old","version":"1.0.0"}',
        'app/node_modules/@a/b/package.json': '{"name":"@a/b","version":"1.0.0"}',
        'app/node_modules/@a/b/lib/package.json': '{"name":"inner","version":"9.9.9"}',
      },
      {
        'nodejs/bin/node': binary,
        'var/lib/dpkg/status.d/.wh.gone': '',
        'app/node_modules/.wh.old': '',
        'app/node_modules/@a/b/package.json': '{"name":"@a/b","version":"1.0.1"}',
      },
    ])
    const { components, unknown } = await inventoryOfImage(layout, found)
    assert.deepEqual(components.map(({ purl }) => purl).toSorted(), [
      'pkg:deb/debian/libc6@2.36-9',
      'pkg:generic/node@24.21.0',
      'pkg:npm/%40a/b@1.0.1',
    ])
    const [first] = components.filter(({ name }) => name === 'libc6')
    assert.deepEqual([first?.ecosystems, first?.source.name], [['Debian:12'], 'glibc'])
    assert.deepEqual(unknown, [])
  })

  it('reads apk, and leaves out packages of dpkg that are not installed', async () => {
    const alpine = await image([
      {
        'etc/os-release': 'ID=alpine\nVERSION_ID=3.20.3\n',
        'lib/apk/db/installed': 'P:libssl3\nV:3.3.2-r0\no:openssl\n\nP:musl\nV:1.2.5-r0\n',
      },
    ])
    const { components } = await inventoryOfImage(alpine.layout, alpine.image)
    assert.deepEqual(
      components.map(({ source }) => source.name),
      ['openssl', 'musl'],
    )
    const status = `${libc}Status: install ok installed\n\n${libc.replace('libc6', 'gone')}Status: deinstall ok config-files\n`
    const full = await image([{ 'etc/os-release': debian, 'var/lib/dpkg/status': status }])
    assert.deepEqual(
      (await inventoryOfImage(full.layout, full.image)).components.map(({ name }) => name),
      ['libc6'],
    )
  })

  it('keeps what it read of a layer', async () => {
    const { layout, image: found } = await image([{ 'etc/os-release': debian, 'var/lib/dpkg/status.d/libc6': libc }])
    const kept = new Map<string, unknown>()
    const cache = {
      read: <T>(key: string) => Promise.resolve(kept.get(key) as T | undefined),
      write: (key: string, value: unknown) => Promise.resolve(void kept.set(key, value)),
    }
    const first = await inventoryOfImage(layout, found, { cache })
    const [layer] = found.manifest.layers
    if (layer) rmSync(layout.blobPath(layer.digest))
    assert.deepEqual(await inventoryOfImage(layout, found, { cache }), first)
  })

  it('takes what is bundled out of the SBOM, and says when there is none', async () => {
    const { layout, image: found } = await image(
      [{ 'etc/os-release': debian, 'var/lib/dpkg/status.d/libc6': libc }],
      'fairlead build (application)',
    )
    assert.match((await inventoryOfImage(layout, found)).unknown.join(), /npm packages inside the bundle: no SBOM/)
    const bom = {
      bomFormat: 'CycloneDX',
      specVersion: '1.6',
      components: [{ type: 'library', purl: 'pkg:npm/%40a/b@1.0.0' }],
    }
    const document = await layout.writeBlob(Buffer.from(JSON.stringify(bom)))
    const manifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      artifactType: 'application/vnd.cyclonedx+json',
      config: await layout.writeJson('application/vnd.oci.empty.v1+json', {}),
      layers: [{ mediaType: 'application/vnd.cyclonedx+json', ...document }],
      subject: found.descriptor,
    }
    await layout.attach(await layout.writeJson(mediaTypes.manifest, manifest))
    const { components, unknown } = await inventoryOfImage(layout, found)
    assert.ok(components.some(({ purl }) => purl === 'pkg:npm/%40a/b@1.0.0'))
    assert.deepEqual(unknown, [])
  })

  it('does not take an image without records for an empty one', async () => {
    const { layout, image: found } = await image([{ 'bin/app': 'x' }])
    assert.match((await inventoryOfImage(layout, found)).unknown.join(), /the image has no os-release/)
  })
})

describe('packagesIn', () => {
  const spdx = {
    spdxVersion: 'SPDX-2.3',
    packages: [{ externalRefs: [{ referenceType: 'purl', referenceLocator: 'pkg:npm/zod@4.0.0' }] }],
  }
  const statement = { predicateType: 'https://spdx.dev/Document', predicate: spdx }
  const envelope = { payload: Buffer.from(JSON.stringify(statement)).toString('base64') }
  for (const [name, document] of Object.entries({ spdx, statement, envelope, bundle: { dsseEnvelope: envelope } })) {
    it(`reads ${name}`, () => assert.deepEqual(packagesIn(document), [{ name: 'zod', version: '4.0.0' }]))
  }
  it('knows what is no SBOM', () =>
    assert.equal(packagesIn({ predicateType: 'https://slsa.dev/provenance/v1' }), undefined))
})

describe('inventoryOfFolder', () => {
  it('tells packages in the bundle from those that are only locked', async () => {
    const dir = mkdtempSync(join(root, 'x-'))
    const packages: Record<string, object> = { '': { dependencies: { used: '1.0.0' } } }
    for (const [name, dependencies] of [
      ['used', { unused: '1.0.0' }],
      ['unused', {}],
    ] as const) {
      packages[`node_modules/${name}`] = { version: '1.0.0', dependencies }
      mkdirSync(join(dir, 'node_modules', name), { recursive: true })
      writeFileSync(
        join(dir, 'node_modules', name, 'package.json'),
        JSON.stringify({ name, version: '1.0.0', main: 'index.js' }),
      )
      writeFileSync(join(dir, 'node_modules', name, 'index.js'), 'module.exports = () => 1\n')
    }
    writeFileSync(
      join(dir, 'package.json'),
      JSON.stringify({ name: 'web', type: 'module', main: 'main.js', dependencies: { used: '1.0.0' } }),
    )
    writeFileSync(join(dir, 'package-lock.json'), JSON.stringify({ lockfileVersion: 3, packages }))
    writeFileSync(join(dir, 'main.js'), "import used from 'used'\nconsole.log(used())\n")
    const { components } = await inventoryOfFolder(dir)
    assert.deepEqual(components.map(({ name, presence }) => `${name} ${presence}`).toSorted(), [
      'unused locked',
      'used present',
    ])
  })
})
