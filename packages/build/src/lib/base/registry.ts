import { parseReference, renderReference } from '@fairlead/oci'
import type { Digest } from '@fairlead/oci'

import { baseUnavailable } from '../errors.ts'
import { readContents } from './contents.ts'
import type { Base, BaseOptions } from './base.ts'

const CONNECT_TIMEOUT_MS = 3_000

/** Whether the registry of a reference answers within a few seconds. */
export async function isRegistryReachable(reference: string, signal?: AbortSignal): Promise<boolean> {
  const { createRegistryClient } = await import('@fairlead/oci/registry')
  const { registry } = parseReference(reference)
  return createRegistryClient().isReachable(registry, { timeoutMs: CONNECT_TIMEOUT_MS, signal })
}

/** Pulls a base image into the cache. A tag is resolved here and now; the digest it meant becomes part of the answer. */
export async function pullBase(reference: string, options: BaseOptions): Promise<Base> {
  options.onStart(`pulling ${reference}`)
  const { cache, architecture, signal } = options
  const { pullImage } = await import('@fairlead/oci/registry')
  const pulled = await pullImage(reference, { layout: cache.layers, platform: `linux/${architecture}`, signal }).catch(
    (error: unknown) => {
      signal?.throwIfAborted()
      if ((error as { code?: string }).code === 'FAIRLEAD_OCI_DISK_FULL') throw error
      throw baseUnavailable(reference, 'the image could not be pulled', error)
    },
  )
  const diffIds = pulled.config.rootfs.diff_ids
  if (diffIds.length !== pulled.manifest.layers.length) {
    throw baseUnavailable(reference, 'its configuration and its manifest name different numbers of layers')
  }
  const layers = pulled.manifest.layers.map((descriptor, index) => ({ descriptor, diffId: diffIds[index] as Digest }))
  const { digest } = parseReference(pulled.pinned)
  return {
    kind: 'registry',
    detail: pulled.pinned,
    name: renderReference(parseReference(reference)),
    digest,
    config: pulled.config.config,
    ...(await readContents(cache, layers)),
    layers,
  }
}
