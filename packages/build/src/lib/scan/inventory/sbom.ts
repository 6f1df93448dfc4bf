import type { Descriptor, Digest, ImageManifest } from '@fairlead/oci'
import type { Layout } from '@fairlead/oci/layout'

import { npmComponent } from './component.ts'
import type { Component } from './component.ts'

const MAX_DOCUMENT_BYTES = 64 << 20

/**
 * npm packages that SBOMs attached to an image name: CycloneDX or SPDX, plain, as in-toto statement, in a DSSE envelope or
 * in a sigstore bundle. `undefined` when none is attached. Signatures are not checked here; that is `image verify`.
 */
export async function componentsOfSboms(layout: Layout, digest: Digest): Promise<Component[] | undefined> {
  const found: Component[] = []
  let isThere = false
  for (const referrer of await layout.referrers(digest)) {
    for (const layer of await documentsOf(layout, referrer)) {
      const names = layer.size > MAX_DOCUMENT_BYTES ? undefined : packagesIn(await readJson(layout, layer))
      if (!names) continue
      isThere = true
      found.push(...names.map(({ name, version }) => npmComponent(name, version)))
    }
  }
  return isThere ? [...new Map(found.map((component) => [component.purl, component])).values()] : undefined
}

async function documentsOf(layout: Layout, referrer: Descriptor): Promise<readonly Descriptor[]> {
  const manifest = (await readJson(layout, referrer)) as ImageManifest | undefined
  return manifest?.layers ?? []
}

async function readJson(layout: Layout, descriptor: Descriptor): Promise<unknown> {
  try {
    return JSON.parse((await layout.readBlob(descriptor.digest)).toString()) as unknown
  } catch {
    return undefined
  }
}

interface Named {
  name: string
  version: string
}

/** npm packages of a document; `undefined` when it is no SBOM. */
export function packagesIn(value: unknown, depth = 0): Named[] | undefined {
  if (typeof value !== 'object' || value === null || depth > 4) return undefined
  const document = value as {
    bomFormat?: string
    components?: readonly { purl?: string; components?: readonly unknown[] }[]
    spdxVersion?: string
    packages?: readonly { externalRefs?: readonly { referenceType?: string; referenceLocator?: string }[] }[]
    dsseEnvelope?: unknown
    payload?: string
    predicate?: unknown
    predicateType?: string
  }
  if (document.bomFormat === 'CycloneDX') return (document.components ?? []).flatMap((one) => fromPurls([one.purl]))
  if (document.spdxVersion !== undefined) {
    return (document.packages ?? []).flatMap(({ externalRefs = [] }) =>
      fromPurls(
        externalRefs.filter(({ referenceType }) => referenceType === 'purl').map((ref) => ref.referenceLocator),
      ),
    )
  }
  if (document.dsseEnvelope !== undefined) return packagesIn(document.dsseEnvelope, depth + 1)
  if (typeof document.payload === 'string') return packagesIn(decode(document.payload), depth + 1)
  if (/cyclonedx|spdx/i.test(document.predicateType ?? '')) return packagesIn(document.predicate, depth + 1)
  return undefined
}

function decode(payload: string): unknown {
  try {
    return JSON.parse(Buffer.from(payload, 'base64').toString()) as unknown
  } catch {
    return undefined
  }
}

function fromPurls(purls: readonly (string | undefined)[]): Named[] {
  return purls.flatMap((purl) => {
    const [, name, version] = /^pkg:npm\/((?:(?:@|%40)[^/]+\/)?[^@/]+)@([^?#]+)/.exec(purl ?? '') ?? []
    if (name === undefined || version === undefined) return []
    return [{ name: decodeURIComponent(name), version: decodeURIComponent(version) }]
  })
}
