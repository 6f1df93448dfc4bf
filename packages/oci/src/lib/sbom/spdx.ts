import { createHash } from 'node:crypto'

import { renderCanonicalJson } from '../spec/canonical.ts'
import { splitDigest } from '../spec/digest.ts'
import { sortComponents, wholeSeconds } from './bill.ts'
import type { BillComponent, BillOfMaterials } from './bill.ts'
import { readLicense } from './license.ts'
import { imagePurl, toUuid } from './subject.ts'

/** Media type of an SPDX document in JSON. */
export const SPDX_TYPE = 'application/spdx+json'

const PURPOSES = {
  application: 'APPLICATION',
  library: 'LIBRARY',
  'operating-system': 'OPERATING_SYSTEM',
  platform: 'APPLICATION',
} as const

/** An SPDX 2.3 document in JSON. Equal bills give equal documents. */
export function renderSpdx(bill: BillOfMaterials): object {
  const components = sortComponents(bill.components)
  const ids = new Map(components.map((component) => [component.id, spdxId('Package', component)]))
  const image = 'SPDXRef-Image'
  const licenses = new Map<string, string>()
  const document = {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: bill.name,
    creationInfo: { created: wholeSeconds(bill.created), creators: [`Tool: ${bill.tool.name}-${bill.tool.version}`] },
    packages: [
      describeImage(bill, image),
      ...components.map((component) => describe(component, ids.get(component.id) ?? '', licenses)),
    ],
    relationships: [
      relate('SPDXRef-DOCUMENT', 'DESCRIBES', image),
      ...components.map(({ id }) => relate(image, 'CONTAINS', ids.get(id) ?? '')),
      ...components.flatMap(({ id, dependsOn = [] }) =>
        dependsOn
          .map((needed) => ids.get(needed))
          .filter((needed) => needed !== undefined)
          .toSorted()
          .map((needed) => relate(ids.get(id) ?? '', 'DEPENDS_ON', needed)),
      ),
    ],
    ...(licenses.size > 0
      ? {
          hasExtractedLicensingInfos: [...licenses].map(([licenseId, extractedText]) => ({ licenseId, extractedText })),
        }
      : {}),
  }
  const uuid = toUuid(renderCanonicalJson(document))
  return { ...document, documentNamespace: `https://spdx.org/spdxdocs/${encodeURIComponent(bill.name)}-${uuid}` }
}

function describeImage(bill: BillOfMaterials, id: string): object {
  const { algorithm, hex } = splitDigest(bill.digest)
  return {
    SPDXID: id,
    name: bill.name,
    versionInfo: bill.digest,
    downloadLocation: 'NOASSERTION',
    filesAnalyzed: false,
    primaryPackagePurpose: 'CONTAINER',
    licenseConcluded: 'NOASSERTION',
    licenseDeclared: 'NOASSERTION',
    copyrightText: 'NOASSERTION',
    checksums: [{ algorithm: algorithm.toUpperCase(), checksumValue: hex }],
    externalRefs: [purlReference(imagePurl(bill))],
  }
}

function describe(component: BillComponent, id: string, licenses: Map<string, string>): object {
  const { name, version, purl, hashes = [], downloadLocation, properties } = component
  const facts = Object.entries(properties ?? {}).map(([key, value]) => `${key}: ${value}`)
  return {
    SPDXID: id,
    name,
    versionInfo: version,
    downloadLocation: isDownload(downloadLocation) ? downloadLocation : 'NOASSERTION',
    filesAnalyzed: false,
    primaryPackagePurpose: PURPOSES[component.type],
    licenseConcluded: 'NOASSERTION',
    licenseDeclared: declare(component.license, licenses),
    copyrightText: 'NOASSERTION',
    ...(hashes.length > 0
      ? {
          checksums: hashes.map(({ algorithm, hex }) => ({
            algorithm: algorithm.replace('-', ''),
            checksumValue: hex,
          })),
        }
      : {}),
    ...(purl === undefined ? {} : { externalRefs: [purlReference(purl)] }),
    ...(facts.length > 0 ? { comment: facts.join('; ') } : {}),
  }
}

/** The licence as SPDX wants it; a text that is no expression is kept under a name of its own. */
function declare(text: string | undefined, licenses: Map<string, string>): string {
  const license = readLicense(text)
  if (!license) return 'NOASSERTION'
  if (license.kind === 'expression') return license.text
  const name = license.text
    .replaceAll(/[^A-Za-z0-9.-]+/g, '-')
    .replaceAll(/^-|-$/g, '')
    .slice(0, 40)
  const id = `LicenseRef-${[name, shortHash(license.text)].filter(Boolean).join('-')}`
  licenses.set(id, license.text)
  return id
}

function isDownload(location: string | undefined): boolean {
  return location !== undefined && /^(https?|git\+[a-z]+|git):\/\/\S+$/.test(location)
}

function purlReference(purl: string): object {
  return { referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: purl }
}

function relate(from: string, relationshipType: string, to: string): object {
  return { spdxElementId: from, relationshipType, relatedSpdxElement: to }
}

/** Letters, digits, `.` and `-` only (SPDX 2.3, 7.2); the hash keeps apart what looks the same after that. */
function spdxId(kind: string, { id, name, version }: BillComponent): string {
  const readable = `${name}-${version}`.replaceAll(/[^A-Za-z0-9.-]+/g, '-').replaceAll(/^-|-$/g, '')
  return `SPDXRef-${kind}-${readable}-${shortHash(id)}`
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8)
}
