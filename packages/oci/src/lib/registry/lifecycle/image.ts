import type { Digest } from '../../spec/digest.ts'

/** What lifecycle policies look at: one manifest of one repository. Times are milliseconds since the epoch. */
export interface LifecycleImage {
  readonly digest: Digest
  readonly tags: readonly string[]
  readonly pushedAt: number
  /** Undefined: never pulled. */
  readonly lastPulledAt?: number | undefined
  /** When it was moved to the archive, undefined while it is not there. */
  readonly archivedAt?: number | undefined
  /** When it was last brought back from the archive. */
  readonly activatedAt?: number | undefined
  /** Manifests that this one, an index, consists of. */
  readonly children?: readonly Digest[] | undefined
  /** The manifest that this one (a signature, an SBOM) is about. */
  readonly subject?: Digest | undefined
}

/** An image that a policy acts on. */
export interface LifecycleAction {
  readonly digest: Digest
  readonly tags: readonly string[]
  readonly pushedAt: number
  readonly action: 'expire' | 'archive'
  /** The rule that acts: its priority (ECR), or its number counted from 1 (zot). 0: it follows its subject or its index. */
  readonly rule: number
  /** In words. */
  readonly reason: string
}

/** Day of the policies' arithmetic. */
export const dayMs: number = 24 * 60 * 60 * 1000

export function isArchived(image: LifecycleImage): boolean {
  return image.archivedAt !== undefined
}
