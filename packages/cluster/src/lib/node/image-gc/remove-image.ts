import type { Digest } from '@fairlead/oci'
import type { Layout } from '@fairlead/oci/layout'

import type { PulledImage } from './pulled-images.ts'

export interface ImageRemover {
  /** Forgets an image, and removes what nothing else points at. */
  remove(image: PulledImage): Promise<void>
}

/**
 * Removes images from a layout other processes build and pull into at the same time: a blob goes when nothing points at it and
 * nobody has asked for it for `graceMs`. One that is too young is tried again with the next image.
 */
export function createImageRemover(layout: Layout, graceMs: number): ImageRemover {
  const doomed = new Set<Digest>()
  return {
    async remove({ reference }) {
      // The registry's part of the library is not needed before the disk is short.
      const { collectGarbage, openRegistryStore } = await import('@fairlead/oci/server')
      const store = await openRegistryStore(layout.dir)
      const descriptor = (await layout.list()).find((entry) => entry.reference === reference)?.descriptor
      for (const { digest } of descriptor === undefined ? [] : store.closure(descriptor)) doomed.add(digest)
      await layout.untag(reference)
      await collectGarbage(store, { graceMs, among: doomed })
      for (const digest of doomed) if (store.blobSize(digest) === undefined) doomed.delete(digest)
    },
  }
}
