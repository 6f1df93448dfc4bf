import type { Layout, ResolvedImage } from '@fairlead/oci/layout'

import type { BuildCache } from '../../layers/cache.ts'
import type { Component, Inventory } from './component.ts'
import { componentsOfLayers } from './layers.ts'
import { componentsOfSboms } from './sbom.ts'

/** What an image in a layout consists of: by its layers, and by the SBOMs attached to it for what is bundled. */
export async function inventoryOfImage(
  layout: Layout,
  image: ResolvedImage,
  options: { cache?: Pick<BuildCache, 'read' | 'write'> | undefined; signal?: AbortSignal | undefined } = {},
): Promise<Inventory> {
  const { components, distribution } = await componentsOfLayers(layout, image.manifest, options)
  const bundled = await componentsOfSboms(layout, image.descriptor.digest)
  const unknown: string[] = []
  if (!bundled && mayHoldBundle(image, components)) {
    unknown.push('npm packages inside the bundle: no SBOM is attached to the image')
  }
  if (!distribution) unknown.push('packages of the operating system: the image has no os-release')
  else if (!components.some(({ purl }) => /^pkg:(deb|apk)\//.test(purl))) {
    unknown.push(`packages of the operating system (${distribution.id}): the image has no record of them`)
  }
  const byPlace = new Map([...components, ...(bundled ?? [])].map((component) => [component.purl, component]))
  return { components: [...byPlace.values()], unknown }
}

/** Code of packages can be in an image without their folders. */
function mayHoldBundle(image: ResolvedImage, components: readonly Component[]): boolean {
  const isOurs = (image.config.history ?? []).some(({ created_by: by }) => by === 'fairlead build (application)')
  const hasNode = components.some(({ name, purl }) => name === 'node' && purl.startsWith('pkg:generic/'))
  return isOurs || (hasNode && !components.some(({ purl }) => purl.startsWith('pkg:npm/')))
}
