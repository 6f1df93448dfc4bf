import { openLayoutHome, openRegistryHome } from '../attest/image-home.ts'
import type { ImageHome } from '../attest/image-home.ts'
import { imageRefused } from '../errors.ts'
import type { Layout } from '../layout/layout.ts'
import type { RegistryClient } from '../registry/client.ts'
import type { Digest } from '../spec/digest.ts'
import { parseReference, renderReference } from '../spec/reference.ts'
import { collectEvidence } from './evidence.ts'
import type { Evidence } from './evidence.ts'
import { decideImage, findImageRule } from './policy.ts'
import type { ImagePolicy } from './policy.ts'

/** How images are admitted. */
export interface AdmitOptions {
  policy: ImagePolicy
  layout: Layout
  /** Asked for signatures that are not in the layout; default: an anonymous client. */
  client?: RegistryClient | undefined
}

/** Throws `FAIRLEAD_OCI_IMAGE_REFUSED` for an image that may not run; `digest` is its manifest in the layout. */
export type AdmitImage = (
  reference: string,
  digest: Digest,
  options?: {
    /** Asked in place of the client of {@link AdmitOptions}, as with the credentials of one pod. */
    client?: RegistryClient | undefined
    signal?: AbortSignal | undefined
  },
) => Promise<void>

/**
 * Holds images against a policy before they run. Signatures are looked for in the layout first, and then, unless the image
 * is local, in its registry, where an index may be signed in place of the images in it. What a registry gave is
 * kept in the layout, so the next start needs no network.
 */
export function createAdmission({ policy, layout, client: usual }: AdmitOptions): AdmitImage {
  const keys = [...policy.keys.values()]
  return async (reference, digest, { client = usual, signal } = {}) => {
    const rule = findImageRule(policy, reference)
    const parsed = parseReference(reference)
    const types = { keys, predicateTypes: [...new Set(rule?.needs.map(({ predicateType }) => predicateType))] }
    if (!rule || rule.needs.length === 0) return check(policy, reference, [])
    const local = await openLayoutHome(layout, `${parsed.registry}/${parsed.repository}@${digest}`)
    const found = (await collectEvidence(local, digest, types)).verified
    if (parsed.registry === 'localhost' || decideImage(policy, reference, found).isAllowed) {
      return check(policy, reference, found)
    }
    let remote: Evidence[]
    try {
      const home = await openRegistryHome(reference, { client, signal })
      remote = await evidenceThere(home, layout, digest, types)
    } catch (error) {
      signal?.throwIfAborted()
      const state = `its registry cannot be asked for signatures, and there are none on this machine`
      throw imageRefused(renderReference(parsed), state, error)
    }
    check(policy, reference, [...found, ...remote])
  }
}

async function evidenceThere(
  home: ImageHome,
  layout: Layout,
  digest: Digest,
  options: {
    keys: ImagePolicy['keys'] extends ReadonlyMap<string, infer Key> ? Key[] : never
    predicateTypes: string[]
  },
): Promise<Evidence[]> {
  const own = (await collectEvidence(home, digest, options)).verified
  for (const referrer of own.length > 0 ? await home.referrers(digest) : []) {
    if (!referrer.artifactType?.startsWith('application/vnd.dev.sigstore.bundle')) continue
    const bytes = await home.manifest(referrer.digest)
    const manifest = JSON.parse(bytes.toString()) as { config: typeof referrer; layers: (typeof referrer)[] }
    for (const part of [manifest.config, ...manifest.layers]) await layout.writeBlob(await home.blob(part), part.digest)
    await layout.writeBlob(bytes, referrer.digest)
    await layout.attach(referrer)
  }
  // The tag may have moved on since the pull: an index counts only while it holds this image.
  const holds = home.image.digest !== digest && (await home.children()).some((child) => child.digest === digest)
  const above = holds ? (await collectEvidence(home, home.image.digest, options)).verified : []
  return [...own, ...above]
}

function check(policy: ImagePolicy, reference: string, evidence: readonly Evidence[]): void {
  const decision = decideImage(policy, reference, evidence)
  if (!decision.isAllowed) throw imageRefused(renderReference(parseReference(reference)), decision.reason)
}
