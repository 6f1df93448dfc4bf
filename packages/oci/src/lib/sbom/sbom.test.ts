import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Spec, Validation } from '@cyclonedx/cyclonedx-library'

import { renderCanonicalJson } from '../spec/canonical.ts'
import type { BillOfMaterials } from './bill.ts'
import { renderCycloneDx } from './cyclonedx.ts'
import { isExpression } from './license.ts'
import { npmPurl, renderPurl } from './purl.ts'
import { renderSpdx } from './spdx.ts'

const bill: BillOfMaterials = {
  name: 'localhost/shop/web',
  digest: `sha256:${'ab'.repeat(32)}`,
  architecture: 'amd64',
  created: '2026-11-21T10:11:12.345Z',
  tool: { name: 'fairlead', version: '0.1.0' },
  components: [
    {
      id: 'node_modules/@scope/thing',
      type: 'library',
      name: '@scope/thing',
      version: '1.0.0+build',
      purl: npmPurl('@scope/thing', '1.0.0+build'),
      license: '(MIT OR Apache-2.0)',
      hashes: [{ algorithm: 'SHA-512', hex: 'cd'.repeat(64) }],
      downloadLocation: 'https://registry.example/@scope/thing.tgz',
      dependsOn: ['node_modules/old', 'node_modules/not-in-the-image'],
      properties: { path: 'node_modules/@scope/thing', placement: 'bundle' },
    },
    { id: 'node_modules/old', type: 'library', name: 'old', version: '0.1.0', license: 'MIT/X11 <me@example.com>' },
    { id: 'node_modules/free', type: 'library', name: 'free', version: '2.0.0', license: 'MIT' },
    {
      id: 'pkg:deb/debian/libc6',
      type: 'library',
      name: 'libc6',
      version: '2.36-9+deb12u13',
      purl: renderPurl({
        type: 'deb',
        namespace: 'debian',
        name: 'libc6',
        version: '2.36-9+deb12u13',
        qualifiers: { arch: 'amd64', distro: 'debian-12' },
      }),
    },
    { id: 'os', type: 'operating-system', name: 'debian', version: '12' },
    { id: 'node', type: 'platform', name: 'node', version: '24.21.0', purl: 'pkg:generic/node@24.21.0' },
  ],
}

describe('renderCycloneDx', () => {
  it('is valid by the official schema of CycloneDX 1.6', async () => {
    const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6)
    assert.equal(await validator.validate(JSON.stringify(renderCycloneDx(bill))), null)
  })

  it('gives the same bytes however the components are ordered', () => {
    const turned = { ...bill, components: bill.components.toReversed() }
    assert.equal(renderCanonicalJson(renderCycloneDx(turned)), renderCanonicalJson(renderCycloneDx(bill)))
  })

  it('tells scope, licence, integrity and what needs what', () => {
    const { components, dependencies } = renderCycloneDx(bill) as Record<string, Record<string, unknown>[]>
    const thing = components?.find(({ name }) => name === 'thing')
    assert.equal(thing?.['group'], '@scope')
    assert.equal(thing?.['purl'], 'pkg:npm/%40scope/thing@1.0.0%2Bbuild')
    assert.deepEqual(thing?.['licenses'], [{ expression: '(MIT OR Apache-2.0)' }])
    const needs = dependencies?.find(({ ref }) => ref === 'node_modules/@scope/thing')
    assert.deepEqual(needs?.['dependsOn'], ['node_modules/old'])
  })
})

describe('renderSpdx', () => {
  const spdx = renderSpdx(bill) as {
    packages: { SPDXID: string; name: string; licenseDeclared: string; checksums?: unknown }[]
    relationships: { spdxElementId: string; relationshipType: string; relatedSpdxElement: string }[]
    hasExtractedLicensingInfos: { licenseId: string; extractedText: string }[]
    documentNamespace: string
    creationInfo: { created: string }
  }

  it('relates only what is described, once each', () => {
    const ids = ['SPDXRef-DOCUMENT', ...spdx.packages.map(({ SPDXID }) => SPDXID)]
    assert.equal(new Set(ids).size, ids.length)
    for (const id of ids) assert.match(id, /^SPDXRef-[A-Za-z0-9.-]+$/)
    for (const { spdxElementId, relatedSpdxElement } of spdx.relationships) {
      assert.ok(ids.includes(spdxElementId) && ids.includes(relatedSpdxElement))
    }
    assert.equal(spdx.relationships.filter(({ relationshipType }) => relationshipType === 'CONTAINS').length, 6)
    assert.equal(spdx.relationships.filter(({ relationshipType }) => relationshipType === 'DEPENDS_ON').length, 1)
  })

  it('keeps a licence that is no SPDX expression under a name of its own', () => {
    const [info] = spdx.hasExtractedLicensingInfos
    assert.equal(info?.extractedText, 'MIT/X11 <me@example.com>')
    assert.match(info?.licenseId ?? '', /^LicenseRef-[A-Za-z0-9.-]+$/)
    assert.equal(spdx.packages.find(({ name }) => name === 'old')?.licenseDeclared, info?.licenseId)
  })

  it('has no random part and no clock', () => {
    assert.deepEqual(renderSpdx(bill), spdx)
    assert.equal(spdx.creationInfo.created, '2026-11-21T10:11:12Z')
    assert.notEqual((renderSpdx({ ...bill, name: 'x/y' }) as typeof spdx).documentNamespace, spdx.documentNamespace)
  })
})

describe('isExpression', () => {
  const cases: readonly [string, boolean][] = [
    ['MIT', true],
    ['(MIT OR Apache-2.0) AND BSD-3-Clause', true],
    ['GPL-2.0+', true],
    ['GPL-2.0-only WITH Classpath-exception-2.0', true],
    ['MIT OR', false],
    ['(MIT', false],
    ['MIT, BSD', false],
    ['Public Domain', false],
    ['', false],
  ]
  for (const [text, expected] of cases)
    it(`${JSON.stringify(text)}: ${expected}`, () => assert.equal(isExpression(text), expected))
})

describe('renderPurl', () => {
  it('encodes as purl-spec does', () => {
    assert.equal(
      renderPurl({
        type: 'deb',
        namespace: 'debian',
        name: 'attr',
        version: '1:2.4.47-2',
        qualifiers: { arch: 'amd64' },
      }),
      'pkg:deb/debian/attr@1:2.4.47-2?arch=amd64',
    )
    assert.equal(npmPurl('@angular/animation', '12.3.1'), 'pkg:npm/%40angular/animation@12.3.1')
  })
})
