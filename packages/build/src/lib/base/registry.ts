import { parseReference, renderReference } from '@fairlead/oci'
import type { Digest } from '@fairlead/oci'

import { baseUnavailable } from '../errors.ts'
import { readContents } from './contents.ts'
import type { Base, BaseOptions } from './base.ts'

const CONNECT_TIMEOUT_MS = 3_000
/** What is wrong on this machine, whichever base is asked for. */
const PASSED_ON = ['FAIRLEAD_OCI_DISK_FULL', 'FAIRLEAD_OCI_REGISTRIES']

/** Whether the registry of a reference answers within a few seconds. */
export async function isRegistryReachable(
  reference: string,
  { env, signal }: Pick<BaseOptions, 'env' | 'signal'>,
): Promise<boolean> {
  const { createUserClient } = await import('@fairlead/oci/registry')
  return createUserClient({ env }).isReachable(parseReference(reference), { timeoutMs: CONNECT_TIMEOUT_MS, signal })
}

/** Pulls a base image into the cache, with the credentials and by the mirrors of the user. A tag is resolved here and now; the digest it meant becomes part of the answer. */
export async function pullBase(reference: string, options: BaseOptions): Promise<Base> {
  options.onStart(`pulling ${reference}`)
  const { cache, architecture, env, signal } = options
  const { createUserClient, pullImage } = await import('@fairlead/oci/registry')
  const client = createUserClient({ env })
  const platform = `linux/${architecture}`
  const pulled = await pullImage(reference, { layout: cache.layers, client, platform, signal }).catch(
    (error: unknown) => {
      signal?.throwIfAborted()
      if (PASSED_ON.includes((error as { code?: string }).code ?? '')) throw error
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
