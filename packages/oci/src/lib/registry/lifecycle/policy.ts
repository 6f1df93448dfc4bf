import { policyInvalid } from '../../errors.ts'
import { evaluateEcrPolicy } from './ecr.ts'
import { parseEcrPolicy } from './ecr-policy.ts'
import type { EcrPolicy } from './ecr-policy.ts'
import type { LifecycleAction, LifecycleImage } from './image.ts'
import { evaluateZotPolicy, parseZotPolicy } from './zot.ts'
import type { ZotPolicy } from './zot.ts'

/** Which images of a repository are to go, in the syntax of Amazon ECR or of zot. */
export type LifecyclePolicy = EcrPolicy | ZotPolicy

/** What a policy would do: the shape of ECR's preview. */
export interface LifecyclePreview {
  readonly actions: readonly LifecycleAction[]
  readonly summary: { readonly images: number; readonly expiring: number; readonly archiving: number }
}

/**
 * Reads a policy; which syntax it has is seen from it (`rules`: ECR, `policies`: zot).
 *
 * @throws `FAIRLEAD_OCI_POLICY` naming every fault.
 */
export function parseLifecyclePolicy(text: string, source?: string): LifecyclePolicy {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw policyInvalid(source ?? 'lifecycle policy', [`it is not JSON (${(error as Error).message})`], error)
  }
  const isEcr = typeof value === 'object' && value !== null && 'rules' in value
  return isEcr ? parseEcrPolicy(text, source) : parseZotPolicy(value, source)
}

/** What `policy` would do with the images of `repository` at the time `now`. Changes nothing. */
export function previewLifecycle(
  policy: LifecyclePolicy,
  repository: string,
  images: readonly LifecycleImage[],
  now: number,
): LifecyclePreview {
  const actions =
    policy.kind === 'ecr' ? evaluateEcrPolicy(policy, images, now) : evaluateZotPolicy(policy, repository, images, now)
  const expiring = actions.filter(({ action }) => action === 'expire').length
  return { actions, summary: { images: images.length, expiring, archiving: actions.length - expiring } }
}

/**
 * What is legal and most likely not meant, in words.
 */
export function lintLifecycle(policy: LifecyclePolicy, images: readonly LifecycleImage[]): string[] {
  const warnings: string[] = []
  if (policy.kind === 'ecr') {
    for (const { priority, tags, countType } of policy.rules) {
      if (tags.length > 1)
        warnings.push(
          `Rule ${priority} selects images that have all of ${tags.map(({ text }) => text).join(', ')} at once; write a rule for each where any of them is meant`,
        )
      if (countType === 'sinceImagePulled')
        warnings.push(
          `Rule ${priority} counts pulls of this registry only: copies kept for an emergency are never pulled`,
        )
    }
  }
  const parts = new Set(images.flatMap(({ children }) => children ?? []))
  const untagged = images.filter(({ digest, tags }) => tags.length === 0 && parts.has(digest)).length
  if (untagged > 0)
    warnings.push(
      `${untagged} untagged images are parts of an index: they count as untagged, and stay as long as it does`,
    )
  return warnings
}
