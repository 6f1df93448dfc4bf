import { existsSync, readFileSync } from 'node:fs'

import { parseReference, renderPlatform } from '@fairlead/oci'
import type { Digest } from '@fairlead/oci'
import type { Layout, ResolvedImage } from '@fairlead/oci/layout'
import { npmPurl, renderPurl } from '@fairlead/oci/sbom'
import type { BillComponent, BillOfMaterials } from '@fairlead/oci/sbom'

import type { BuildReport, ReportedBase, ReportedPackage } from '../report.ts'
import type { Component } from '../scan/inventory/component.ts'
import { nodeComponents } from './node-components.ts'

/** The program that makes bills and provenance. */
export function builderTool(): { name: string; version: string } {
  const path = manifestPath('@fairlead/build/package.json') ?? manifestPath('fairlead/package.json')
  const { version = '0.0.0' } = path ? (JSON.parse(readFileSync(path, 'utf8')) as { version?: string }) : {}
  return { name: 'fairlead', version }
}

/** This package may be part of the command line's bundle, and is no package of its own then. */
function manifestPath(specifier: string): URL | undefined {
  try {
    const path = new URL(import.meta.resolve(specifier))
    return existsSync(path) ? path : undefined
  } catch {
    return undefined
  }
}

/**
 * The bill of an image that was just built: the application, the packages whose code is in the bundle or beside it, the
 * packages of the base, and Node.js with what it consists of. Nothing that was left out of the image is in it.
 */
export function billOfReport(
  report: BuildReport,
  image: { name: string; digest: Digest; nodeVersions?: Readonly<Record<string, string>> | undefined },
): BillOfMaterials {
  const { source, node, packages } = report
  const architecture = report.platform.split('/')[1]
  const application: BillComponent = {
    id: 'application',
    type: 'application',
    name: source.name ?? image.name.slice(image.name.lastIndexOf('/') + 1),
    version: source.version ?? '0.0.0',
    license: source.license,
    dependsOn: [`pkg:generic/node@${node.version}`, ...packages.map(({ path }) => path)],
    properties: {
      entry: source.entry,
      ...(source.commit === undefined ? {} : { commit: source.commit }),
    },
  }
  const origin = { source: node.source, integrity: node.integrity, stripped: String(node.stripped) }
  return {
    name: image.name,
    digest: image.digest,
    architecture,
    created: source.created,
    tool: builderTool(),
    components: [
      application,
      ...packages.map(npmComponent),
      ...systemComponents(report.base),
      ...nodeComponents(node.version, image.nodeVersions, origin),
    ],
  }
}

/**
 * The bill of any image in a layout, by what its layers say: records of dpkg and apk, folders of `node_modules`, and the
 * Node.js program. `unknown` says what cannot be seen there, such as packages inside a bundle.
 */
export async function billOfImage(
  layout: Layout,
  image: ResolvedImage,
  options: { reference: string; signal?: AbortSignal | undefined },
): Promise<{ bill: BillOfMaterials; unknown: readonly string[] }> {
  // Loaded here and not above: a build writes its bill from what it knows, and need not wait for the scanner.
  const { inventoryOfImage } = await import('../scan/inventory/image.ts')
  const { components, unknown } = await inventoryOfImage(layout, image, { signal: options.signal })
  const { registry, repository } = parseReference(options.reference)
  const { config, descriptor } = image
  const bill = {
    name: `${registry}/${repository}`,
    digest: descriptor.digest,
    architecture: renderPlatform(config).split('/')[1],
    created: isTime(config.created) ? config.created : new Date(0).toISOString(),
    tool: builderTool(),
    components: components.flatMap(seenComponent),
  }
  return { bill, unknown }
}

function seenComponent({ name, version, purl, location, license }: Component): BillComponent[] {
  const properties = location === undefined ? {} : { location }
  if (name === 'node' && purl.startsWith('pkg:generic/')) return nodeComponents(version, undefined, properties)
  return [{ id: purl, type: 'library', name, version, purl, license, properties }]
}

function npmComponent(found: ReportedPackage): BillComponent {
  const { path, name, version, placement } = found
  return {
    id: path,
    type: 'library',
    name,
    version,
    purl: npmPurl(name, version),
    license: found.license,
    hashes: hashesOf(found.integrity),
    downloadLocation: found.resolved,
    dependsOn: found.dependencies,
    properties: { path, placement },
  }
}

function systemComponents({ distribution, packages }: ReportedBase): BillComponent[] {
  const id = distribution?.id ?? 'debian'
  const system: BillComponent[] = distribution
    ? [{ id: 'operating-system', type: 'operating-system', name: distribution.id, version: distribution.versionId }]
    : []
  const distro = distribution && `${distribution.id}-${distribution.versionId}`
  const found = packages.map(({ name, version, architecture, sha256, source }): BillComponent => {
    const qualifiers = { arch: architecture, distro }
    const purl = renderPurl({ type: 'deb', namespace: id, name, version, qualifiers })
    return {
      id: purl,
      type: 'library',
      name,
      version,
      purl,
      hashes: sha256 === undefined ? [] : [{ algorithm: 'SHA-256', hex: sha256 }],
      properties: source === undefined ? {} : { source },
    }
  })
  return [...system, ...found]
}

const ALGORITHMS = { sha1: 'SHA-1', sha256: 'SHA-256', sha384: 'SHA-384', sha512: 'SHA-512' } as const

/** The strongest hash of a Subresource Integrity text. */
export function hashesOf(integrity: string | undefined): NonNullable<BillComponent['hashes']> {
  const found = [...(integrity ?? '').matchAll(/(?:^|\s)(sha1|sha256|sha384|sha512)-([A-Za-z0-9+/]+=*)/g)]
  const all = found.map(([, name, value = '']) => ({
    algorithm: ALGORITHMS[name as keyof typeof ALGORITHMS],
    hex: Buffer.from(value, 'base64').toString('hex'),
  }))
  return all.toSorted((a, b) => b.hex.length - a.hex.length).slice(0, 1)
}

function isTime(text: string | undefined): text is string {
  return text !== undefined && !Number.isNaN(Date.parse(text)) && Date.parse(text) >= 0
}
