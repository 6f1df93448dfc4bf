import type { ContainerImage } from '@fairlead/kube/types/core-v1'
import { parseReference, renderReference } from '@fairlead/oci'
import type { Digest } from '@fairlead/oci'
import type { Layout } from '@fairlead/oci/layout'

type ImageList = Pick<Layout, 'list' | 'resolve'>

/** As kubelets do (`nodeStatusMaxImages`). */
const MOST_IMAGES = 50

/**
 * Tells the images a node has as its status shows them: the largest first, 50 at most. Asked again it reads only the list of names
 * unless that has changed.
 */
export function createImageLister(layout: ImageList): () => Promise<readonly ContainerImage[]> {
  let known: { readonly text: string; readonly images: readonly ContainerImage[] } = { text: '', images: [] }
  return async () => {
    const listed = await layout.list()
    const text = JSON.stringify(listed.map(({ reference, descriptor }) => [reference, descriptor.digest]))
    if (text !== known.text) known = { text, images: await readImages(layout, listed) }
    return known.images
  }
}

async function readImages(layout: ImageList, listed: Awaited<ReturnType<Layout['list']>>): Promise<ContainerImage[]> {
  const byDigest = Map.groupBy(listed, ({ descriptor }) => descriptor.digest)
  const images = await Promise.all(
    [...byDigest.values()].map(async (same): Promise<ContainerImage[]> => {
      const references = same.map(({ reference }) => reference)
      // Of another platform, or half removed: no pod of this node can run it.
      const image = await layout.resolve(references[0] ?? '').catch(() => undefined)
      if (image === undefined) return []
      const { layers, config } = image.manifest
      const sizeBytes = layers.reduce((sum, { size }) => sum + size, config.size)
      return [{ names: namesOf(references, image.descriptor.digest), sizeBytes }]
    }),
  )
  return images
    .flat()
    .toSorted((a, b) => (b.sizeBytes ?? 0) - (a.sizeBytes ?? 0))
    .slice(0, MOST_IMAGES)
}

/** By digest first, as with kubelets. */
function namesOf(references: readonly string[], digest: Digest): string[] {
  const byDigest = references.map((text) => {
    const { registry, repository } = parseReference(text)
    return renderReference({ registry, repository, digest })
  })
  return [...new Set([...byDigest, ...references])]
}
