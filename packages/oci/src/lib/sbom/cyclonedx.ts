import { renderCanonicalJson } from '../spec/canonical.ts'
import { splitDigest } from '../spec/digest.ts'
import { sortComponents, wholeSeconds } from './bill.ts'
import type { BillComponent, BillOfMaterials } from './bill.ts'
import { isLicenseId, readLicense } from './license.ts'
import { imagePurl, toUuid } from './subject.ts'

/** Media type of a CycloneDX document in JSON. */
export const CYCLONEDX_TYPE = 'application/vnd.cyclonedx+json'

/** A CycloneDX 1.6 document in JSON. Equal bills give equal documents. */
export function renderCycloneDx(bill: BillOfMaterials): object {
  const components = sortComponents(bill.components)
  const known = new Set(components.map(({ id }) => id))
  const image = imagePurl(bill)
  const { algorithm, hex } = splitDigest(bill.digest)
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      timestamp: wholeSeconds(bill.created),
      tools: { components: [{ type: 'application', name: bill.tool.name, version: bill.tool.version }] },
      component: {
        type: 'container',
        'bom-ref': image,
        name: bill.name,
        version: bill.digest,
        purl: image,
        hashes: [{ alg: algorithm === 'sha256' ? 'SHA-256' : 'SHA-512', content: hex }],
      },
    },
    components: components.map(describe),
    dependencies: [
      { ref: image, dependsOn: components.map(({ id }) => id) },
      ...components.map(({ id, dependsOn = [] }) => ({
        ref: id,
        dependsOn: dependsOn.filter((needed) => known.has(needed)).toSorted(),
      })),
    ],
  }
  return { ...document, serialNumber: `urn:uuid:${toUuid(renderCanonicalJson(document))}` }
}

function describe(component: BillComponent): object {
  const { id, type, purl, hashes = [], downloadLocation, properties = {} } = component
  const [group, name] = splitScope(component)
  return {
    type,
    'bom-ref': id,
    ...(group === undefined ? {} : { group }),
    name,
    version: component.version,
    ...(hashes.length > 0 ? { hashes: hashes.map(({ algorithm, hex }) => ({ alg: algorithm, content: hex })) } : {}),
    ...licensesOf(component.license),
    ...(purl === undefined ? {} : { purl }),
    ...(downloadLocation !== undefined && URL.canParse(downloadLocation)
      ? { externalReferences: [{ type: 'distribution', url: downloadLocation }] }
      : {}),
    ...(Object.keys(properties).length > 0
      ? { properties: Object.entries(properties).map(([key, value]) => ({ name: `fairlead:${key}`, value })) }
      : {}),
  }
}

/** `@scope/name` of npm is a group and a name to CycloneDX. */
function splitScope({ name, purl }: BillComponent): [string | undefined, string] {
  const match = purl?.startsWith('pkg:npm/') ? /^(@[^/]+)\/(.+)$/.exec(name) : null
  return match?.[1] && match[2] ? [match[1], match[2]] : [undefined, name]
}

function licensesOf(text: string | undefined): object {
  const license = readLicense(text)
  if (!license) return {}
  if (license.kind === 'other') return { licenses: [{ license: { name: license.text } }] }
  if (isLicenseId(license.text)) return { licenses: [{ license: { id: license.text } }] }
  return { licenses: [{ expression: license.text }] }
}
